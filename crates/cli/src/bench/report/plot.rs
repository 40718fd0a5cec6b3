//! Plots as SVG: lines over time, and bars of a distribution.
//!
//! Colours are classes of the page's style, so that they follow it.

use std::fmt::Write;

use super::html::escape;
use crate::bench::recorder::Bin;

/// Lines over the seconds of a run.
pub(super) struct Plot {
    pub(super) lines: Vec<Line>,
    pub(super) axis: Axis,
    /// How a value is written.
    pub(super) label: fn(f64) -> String,
}

pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) class: &'static str,
    /// Seconds and values.
    pub(super) points: Vec<(f64, f64)>,
}

/// How values are put on the vertical axis.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Axis {
    /// From zero.
    Linear,
    /// By powers of ten.
    Log,
}

impl Plot {
    pub(super) fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let end = points().map(|(at, _)| *at).fold(1.0, f64::max);
        let scale = Scale::new(self.axis, points().map(|(_, value)| *value));
        let x = |at: f64| LEFT + at / end * (RIGHT - LEFT);
        let y = |value: f64| BOTTOM - scale.place(value) * (BOTTOM - TOP);
        let mut svg = begin(&self.lines.iter().map(|line| line.name).collect::<Vec<_>>());
        for value in scale.ticks() {
            horizontal(&mut svg, y(value), &(self.label)(value));
        }
        for at in ticks(end, 8) {
            vertical(&mut svg, x(at), &format!("{at} s"));
        }
        let is_alone = self.lines.len() == 1;
        for (i, line) in self.lines.iter().enumerate() {
            let path: Vec<String> = line
                .points
                .iter()
                .map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value)))
                .collect();
            let class = line.class;
            if let ([first, .., last], true) = (&*line.points, is_alone) {
                let (from, to, path) = (x(first.0), x(last.0), path.join(" "));
                let points = format!("{from:.1},{BOTTOM} {path} {to:.1},{BOTTOM}");
                push(
                    &mut svg,
                    format_args!("<polygon class=\"area\" points=\"{points}\"/>"),
                );
            }
            let points = path.join(" ");
            let curve = format_args!("<polyline class=\"curve {class}\" points=\"{points}\"/>");
            push(&mut svg, curve);
            // A single point makes no line; of many, the line is enough.
            if line.points.len() <= 60 {
                for (at, value) in &line.points {
                    let (cx, cy) = (x(*at), y(*value));
                    let title = escape(&format!("{at} s: {}", (self.label)(*value)));
                    let dot = format_args!(
                        "<circle class=\"dot {class}\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3\">\
                         <title>{title}</title></circle>"
                    );
                    push(&mut svg, dot);
                }
            }
            if !is_alone {
                let from = LEFT + 10.0 + 90.0 * i as f64;
                let (to, text, name) = (from + 18.0, from + 24.0, escape(line.name));
                let key = format_args!(
                    "<path class=\"key {class}\" d=\"M{from} 12H{to}\"/>\
                     <text x=\"{text}\" y=\"16\">{name}</text>"
                );
                push(&mut svg, key);
            }
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// Bars of a distribution, whose ranges are alike on a logarithmic scale.
pub(super) fn bars(bins: &[Bin], label: fn(f64) -> String, count: fn(f64) -> String) -> String {
    let counts = || bins.iter().map(|bin| bin.count as f64);
    // Rare durations are what one looks for: they would be invisible on a linear scale.
    let scale = Scale::new(
        Axis::Log,
        counts().filter(|count| *count > 0.0).chain([1.0]),
    );
    let width = (RIGHT - LEFT) / bins.len().max(1) as f64;
    let mut svg = begin(&["distribution"]);
    let y = |count: f64| BOTTOM - scale.place(count) * (BOTTOM - TOP);
    for value in scale.ticks() {
        horizontal(&mut svg, y(value), &count(value));
    }
    let step = bins.len().div_ceil(8).max(1);
    for (i, bin) in bins.iter().enumerate() {
        let x = LEFT + width * i as f64;
        if i.is_multiple_of(step) {
            vertical(&mut svg, x, &label(bin.from_us));
        }
        if bin.count == 0 {
            continue;
        }
        // One of something is seen as well.
        let top = y(bin.count as f64).min(BOTTOM - 2.0);
        let (height, wide) = (BOTTOM - top, (width - 1.0).max(0.5));
        let (from, to) = (label(bin.from_us), label(bin.to_us));
        let title = escape(&format!("{from} to {to}: {}", count(bin.count as f64)));
        let bar = format_args!(
            "<rect class=\"bar\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" \
             height=\"{height:.1}\"><title>{title}</title></rect>"
        );
        push(&mut svg, bar);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Puts values between 0 and 1.
struct Scale {
    axis: Axis,
    low: f64,
    high: f64,
}

impl Scale {
    fn new(axis: Axis, values: impl Iterator<Item = f64>) -> Scale {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values {
            (low, high) = (low.min(value), high.max(value));
        }
        match axis {
            Axis::Linear => {
                let step = ticks(high.max(1.0), 5).nth(1).unwrap_or(1.0);
                let high = (high.max(1.0) / step).ceil() * step;
                Scale {
                    axis,
                    low: 0.0,
                    high,
                }
            }
            Axis::Log => {
                let low = 10_f64.powf(low.clamp(1.0, 1e12).log10().floor());
                let high = 10_f64.powf(high.clamp(1.0, 1e12).log10().ceil());
                Scale {
                    axis,
                    low,
                    high: high.max(low * 10.0),
                }
            }
        }
    }

    fn place(&self, value: f64) -> f64 {
        match self.axis {
            Axis::Linear => value / self.high,
            Axis::Log => {
                let (low, high) = (self.low.log10(), self.high.log10());
                (value.max(self.low).log10() - low) / (high - low)
            }
        }
    }

    fn ticks(&self) -> Vec<f64> {
        match self.axis {
            Axis::Linear => ticks(self.high, 5).collect(),
            Axis::Log => {
                let (low, high) = (self.low.log10().round(), self.high.log10().round());
                // Few powers leave room for what lies between them.
                let steps: &[f64] = match high - low <= 2.0 {
                    true => &[1.0, 2.0, 5.0],
                    false => &[1.0],
                };
                (low as i32..=high as i32)
                    .flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)))
                    .filter(|value| *value <= self.high)
                    .collect()
            }
        }
    }
}

/// About so many round numbers from zero to an end.
fn ticks(end: f64, count: u32) -> impl Iterator<Item = f64> {
    let rough = end / f64::from(count);
    let power = 10_f64.powf(rough.log10().floor());
    let step = match rough / power {
        ratio if ratio <= 1.0 => power,
        ratio if ratio <= 2.0 => 2.0 * power,
        ratio if ratio <= 5.0 => 5.0 * power,
        _ => 10.0 * power,
    };
    (0..=count * 2)
        // Without the dust of fractions.
        .map(move |i| (f64::from(i) * step * 1e6).round() / 1e6)
        .take_while(move |value| *value <= end * 1.000_001)
}

fn begin(names: &[&str]) -> String {
    let label = escape(&names.join(", "));
    format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{label}\">\n")
}

fn horizontal(svg: &mut String, y: f64, label: &str) {
    let (text_x, text_y, label) = (LEFT - 8.0, y + 4.0, escape(label));
    let line = format_args!(
        "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>\
         <text x=\"{text_x}\" y=\"{text_y:.1}\" text-anchor=\"end\">{label}</text>"
    );
    push(svg, line);
}

fn vertical(svg: &mut String, x: f64, label: &str) {
    let (end, text_y, label) = (BOTTOM + 5.0, BOTTOM + 20.0, escape(label));
    let line = format_args!(
        "<path class=\"grid\" d=\"M{x:.1} {BOTTOM}V{end}\"/>\
         <text x=\"{x:.1}\" y=\"{text_y}\" text-anchor=\"middle\">{label}</text>"
    );
    push(svg, line);
}

fn push(svg: &mut String, element: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(svg, "{element}");
}

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = WIDTH - 20.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = HEIGHT - 34.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            ticks(10.0, 5).collect::<Vec<_>>(),
            [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
        );
        assert_eq!(ticks(0.9, 5).collect::<Vec<_>>(), [0.0, 0.2, 0.4, 0.6, 0.8]);
    }

    #[test]
    fn a_scale_holds_all_values() {
        for values in [&[][..], &[0.0], &[1.0, 1.0], &[3.0, 97_000.0], &[7e6]] {
            for axis in [Axis::Linear, Axis::Log] {
                let scale = Scale::new(axis, values.iter().copied());
                for value in values.iter().copied().chain(scale.ticks()) {
                    let place = scale.place(value);
                    assert!((0.0..=1.0).contains(&place), "{value} is at {place}");
                }
            }
        }
    }

    #[test]
    fn a_logarithmic_scale_has_powers_of_ten() {
        let scale = Scale::new(Axis::Log, [3.0, 7.0].into_iter());
        assert_eq!(scale.ticks(), [1.0, 2.0, 5.0, 10.0]);
        let scale = Scale::new(Axis::Log, [30.0, 4_000.0].into_iter());
        assert_eq!(scale.ticks(), [10.0, 100.0, 1_000.0, 10_000.0]);
        assert_eq!(scale.place(10.0), 0.0);
        assert_eq!(scale.place(10_000.0), 1.0);
    }
}
