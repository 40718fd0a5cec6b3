//! What stands in a certificate, as far as rustls does not tell it.
//!
//! Spec: RFC 5280, section 4.1; X.690 for DER.

/// The fields of a certificate that are looked at.
pub(crate) struct Fields<'a> {
    issuer: &'a [u8],
    subject: &'a [u8],
    validity: &'a [u8],
    /// The algorithm of the key, and the key.
    key: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn of(certificate: &'a [u8]) -> Option<Fields<'a>> {
        let (body, _) = element(certificate)?;
        let (mut rest, _) = element(body)?;
        // version [0], where there is one
        if rest.first() == Some(&0xa0) {
            rest = element(rest)?.1;
        }
        let skip = |rest| element(rest).map(|(_, after)| after);
        let (issuer, rest) = element(skip(skip(rest)?)?)?;
        let (validity, rest) = element(rest)?;
        let (subject, rest) = element(rest)?;
        let (key, _) = element(rest)?;
        Some(Fields {
            issuer,
            subject,
            validity,
            key,
        })
    }

    /// The seconds since 1970 from which and to which it is valid.
    pub(crate) fn validity(&self) -> Option<(i64, i64)> {
        let (_, rest) = element(self.validity)?;
        Some((time(self.validity)?, time(rest)?))
    }

    /// What kind of key it has, if that is one that ring does not know.
    pub(crate) fn unusable_key(&self) -> Option<String> {
        let (algorithm, rest) = element(self.key)?;
        let (kind, parameters) = element(algorithm)?;
        Some(match kind {
            RSA => {
                let bits = modulus_bits(rest)?;
                if (2048..=8192).contains(&bits) {
                    return None;
                }
                format!("its key, RSA of {bits} bits, is not accepted: 2048 to 8192 bits are")
            }
            EC => {
                let (curve, _) = element(parameters)?;
                let curve = match curve {
                    P256 | P384 => return None,
                    P521 => "P-521",
                    K256 => "secp256k1",
                    _ => "another one",
                };
                format!("the curve of its key, {curve}, is not supported: P-256 and P-384 are")
            }
            ED25519 => return None,
            ED448 => {
                "its key, Ed448, is not supported: RSA, P-256, P-384 and Ed25519 are".to_owned()
            }
            _ => {
                "the kind of its key is not supported: RSA, P-256, P-384 and Ed25519 are".to_owned()
            }
        })
    }
}

/// Says whether issuer and subject of a certificate are the same; none if it cannot be read.
pub fn is_self_signed(certificate: &[u8]) -> Option<bool> {
    Fields::of(certificate).map(|fields| fields.issuer == fields.subject)
}

// Object ids, as they stand in a certificate.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384: &[u8] = &[0x2b, 0x81, 4, 0, 0x22];
const P521: &[u8] = &[0x2b, 0x81, 4, 0, 0x23];
const K256: &[u8] = &[0x2b, 0x81, 4, 0, 0x0a];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const ED448: &[u8] = &[0x2b, 0x65, 0x71];

/// The size of an RSA key: a bit string that is a sequence that begins with the modulus.
fn modulus_bits(bits: &[u8]) -> Option<usize> {
    let (string, _) = element(bits)?;
    let (key, _) = element(string.get(1..)?)?;
    let (modulus, _) = element(key)?;
    let first = modulus.iter().position(|byte| *byte != 0)?;
    let unused = modulus[first].leading_zeros() as usize;
    Some((modulus.len() - first) * 8 - unused)
}

/// The content of the first DER element, and what follows it.
fn element(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.get(1..)?.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            let length = digits
                .iter()
                .fold(0, |sum, digit| sum << 8 | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// UTCTime or GeneralizedTime; RFC 5280, section 4.1.2.5, allows one form of each.
fn time(bytes: &[u8]) -> Option<i64> {
    let (text, _) = element(bytes)?;
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |from: usize, to: usize| {
        let digits = digits.get(from..to)?;
        Some(
            digits
                .iter()
                .fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')),
        )
    };
    let (year, at) = match bytes.first()? {
        0x17 if digits.len() == 12 => match number(0, 2)? {
            year @ 0..50 => (2000 + year, 2),
            year => (1900 + year, 2),
        },
        0x18 if digits.len() == 14 => (number(0, 4)?, 4),
        _ => return None,
    };
    let field = |n: usize| number(at + 2 * n, at + 2 * n + 2);
    let (month, day) = (field(0)?, field(1)?);
    let (hour, minute, second) = (field(2)?, field(3)?, field(4)?);
    if !(1..=12).contains(&month) {
        return None;
    }
    // The days since 1970; a year begins in March here.
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, DnType, Issuer, KeyPair, PKCS_ECDSA_P384_SHA384, date_time_ymd,
    };

    use super::*;

    #[test]
    fn who_has_signed_itself_is_seen() {
        let key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
        authority
            .distinguished_name
            .push(DnType::CommonName, "authority");
        let own = authority.self_signed(&key).unwrap();
        assert_eq!(is_self_signed(own.der()), Some(true));
        let leaf = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        let leaf_key = KeyPair::generate().unwrap();
        let signed = leaf
            .signed_by(&leaf_key, &Issuer::new(authority, &key))
            .unwrap();
        assert_eq!(is_self_signed(signed.der()), Some(false));
        assert_eq!(is_self_signed(b"\x30\x82"), None);
    }

    #[test]
    fn dates_and_keys_are_read() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(1999, 12, 31);
        params.not_after = date_time_ymd(2050, 3, 1);
        let certificate = params.self_signed(&key).unwrap();
        let fields = Fields::of(certificate.der()).unwrap();
        assert_eq!(fields.validity(), Some((946_598_400, 2_529_705_600)));
        assert_eq!(fields.unusable_key(), None);
        // Whatever is cut or turned is no certificate, and no panic.
        let whole = certificate.der().to_vec();
        for at in 0..whole.len() {
            let _ = is_self_signed(&whole[..at]);
            let mut turned = whole.clone();
            turned[at] ^= 0xff;
            if let Some(fields) = Fields::of(&turned) {
                let _ = (fields.validity(), fields.unusable_key());
            }
        }
    }
}
