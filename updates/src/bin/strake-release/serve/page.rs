//! The frame of every page: no script, nothing fetched from elsewhere, readable on a phone.

use strake_updates::offer::Offer;
use strake_updates::time::Timestamp;

use super::warden::Warden;

const STYLE: &str = include_str!("page.css");

/// Nothing a machine reported is ever run, fetched or framed.
pub(super) const HEADERS: [(&str, &str); 3] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
];

/// Text from outside as it is written into a page.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A whole page; it loads itself anew each minute.
pub(super) fn frame(title: &str, warden: &Warden, body: &str) -> String {
    let title = escape(title);
    let now = Warden::now();
    let notes = notes(warden, now);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
         <meta http-equiv=\"refresh\" content=\"60\"/><title>{title}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n{notes}{body}\
         <p class=\"soft small\">As of {now}. Machines report by themselves; nobody checks what they \
         say. <a href=\"/metrics\">Metrics</a></p></body></html>\n"
    )
}

/// What an administrator must do something about.
fn notes(warden: &Warden, now: Timestamp) -> String {
    let mut notes = String::new();
    let expires = warden.offered().expires;
    if expires <= now {
        notes += &format!(
            "<p class=\"note alarm\">The timestamp expired {expires}: machines take no update. Run \
             <code>strake-release refresh</code>.</p>\n"
        );
    } else if expires.since(now).0 < 2 * 86_400 {
        notes += &format!(
            "<p class=\"note\">The timestamp expires {expires}. Run <code>strake-release \
             refresh</code> daily.</p>\n"
        );
    }
    if !warden.can_hold() {
        notes += "<p class=\"note\">The timestamp's key is not at hand: a rollout that goes wrong is \
                  shown, but not held.</p>\n";
    }
    notes
}

/// Where a rollout stands, in words.
pub(super) fn state(offer: &Offer, now: Timestamp) -> String {
    if let Some(reason) = &offer.retracted {
        return format!("retracted: {}", escape(reason));
    }
    if let Some(hold) = &offer.held {
        return format!("held since {}: {}", hold.since, escape(&hold.reason));
    }
    if let Some(since) = offer.rollout.paused {
        return format!("paused since {since}");
    }
    if now < offer.rollout.start {
        return format!("starts {}", offer.rollout.start);
    }
    format!("open to {} % of machines", offer.rollout.percent_at(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_stays_text() {
        assert_eq!(
            escape("<script>'\"&amp;"),
            "&lt;script&gt;&#39;&quot;&amp;amp;"
        );
    }
}
