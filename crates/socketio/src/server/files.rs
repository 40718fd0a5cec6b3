//! How many files the process may have open: sockets are files, too.

/// The limit, if the system tells.
#[cfg(unix)]
pub(crate) fn limit() -> Option<usize> {
    use nix::sys::resource::{Resource, getrlimit};

    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    Some(usize::try_from(soft).unwrap_or(usize::MAX))
}

#[cfg(not(unix))]
pub(crate) fn limit() -> Option<usize> {
    None
}

/// How many of these may be connections: an eighth, and at least 16, are for all else.
pub(crate) fn for_connections(limit: usize) -> usize {
    limit.saturating_sub((limit / 8).clamp(16, 1024)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_left_for_all_else() {
        for (limit, connections) in [(8, 1), (64, 48), (256, 224), (1024, 896)] {
            assert_eq!(for_connections(limit), connections);
        }
        assert_eq!(for_connections(1 << 20), (1 << 20) - 1024);
        assert_eq!(for_connections(usize::MAX), usize::MAX - 1024);
    }

    #[cfg(unix)]
    #[test]
    fn the_limit_is_known() {
        assert!(limit().is_some_and(|limit| limit > 16));
    }
}
