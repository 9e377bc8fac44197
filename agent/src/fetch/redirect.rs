//! Which redirects are followed. Pure.

use url::Url;

pub const MOST: usize = 5;

/// Whom a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The cloud's own service: directly, and never anybody else, for requests carry its tokens.
    Metadata,
    /// Any server.
    World,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("more than {MOST} redirects")]
    TooMany,
    #[error("a redirect from https to {0}")]
    Downgrade(&'static str),
    #[error("a redirect to another server than the cloud's")]
    Foreign,
    #[error("a redirect to something that is neither http nor https")]
    Scheme,
}

/// `before` are the URLs asked so far, the first one first.
pub fn check(before: &[Url], next: &Url, scope: Scope) -> Result<(), Refused> {
    if before.len() > MOST {
        return Err(Refused::TooMany);
    }
    let was_safe = before.iter().any(|url| url.scheme() == "https");
    match next.scheme() {
        "https" => {}
        "http" if was_safe => return Err(Refused::Downgrade("http")),
        "http" => {}
        _ => return Err(Refused::Scheme),
    }
    let same_server = before
        .first()
        .is_none_or(|first| first.origin() == next.origin());
    if scope == Scope::Metadata && !same_server {
        return Err(Refused::Foreign);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(before: &[&str], next: &str, scope: Scope, expected: Result<(), Refused>) {
        let url = |text: &str| Url::parse(text).expect("URL");
        let before: Vec<Url> = before.iter().map(|text| url(text)).collect();
        assert_eq!(check(&before, &url(next), scope), expected);
    }

    #[test]
    fn safety_is_never_lost_on_the_way() {
        let world = Scope::World;
        case(&["http://a/"], "http://b/", world, Ok(()));
        case(&["http://a/"], "https://b/", world, Ok(()));
        case(&["https://a/"], "https://b/", world, Ok(()));
        let lost = Err(Refused::Downgrade("http"));
        case(&["https://a/"], "http://a/", world, lost);
        case(&["http://a/", "https://a/"], "http://a/", world, lost);
        case(&["http://a/"], "ftp://a/", world, Err(Refused::Scheme));
    }

    #[test]
    fn five_redirects_are_followed() {
        let five = ["http://a/"; 5];
        case(&five, "http://a/", Scope::World, Ok(()));
        let six = ["http://a/"; 6];
        case(&six, "http://a/", Scope::World, Err(Refused::TooMany));
    }

    #[test]
    fn tokens_stay_with_the_cloud() {
        let base = "http://169.254.169.254/latest";
        let scope = Scope::Metadata;
        case(&[base], "http://169.254.169.254/latest/", scope, Ok(()));
        for other in ["http://169.254.169.254:81/", "http://example.com/"] {
            case(&[base], other, scope, Err(Refused::Foreign));
        }
    }
}
