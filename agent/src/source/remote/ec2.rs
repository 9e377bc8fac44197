//! EC2's instance metadata service, version 2, and version 1 where a service knows no tokens.

use super::service::Service;
use super::{Error, Said};
use crate::source::described::{Described, Kind};

const TOKEN_HEADER: &str = "X-aws-ec2-metadata-token";
const LIFETIME_HEADER: &str = "X-aws-ec2-metadata-token-ttl-seconds";
/// Longer than all requests may take together.
const LIFETIME: &str = "600";
/// The version that every service of this kind has, copies of it included.
const VERSION: &str = "2009-04-04";
/// The first version that names an IPv6 address.
const VERSION_IPV6: &str = "2021-01-03";
const MOST_KEYS: usize = 64;

pub(super) async fn ask(service: Service<'_>) -> Result<Said, Error> {
    let tokens = service.clone().with(LIFETIME_HEADER, LIFETIME);
    let token = tokens.put("latest/api/token").await?.and_then(usable);
    let service = match token {
        Some(token) => service.with(TOKEN_HEADER, token),
        None => service,
    };
    let user_data = service.user_data(&format!("{VERSION}/user-data")).await?;
    let mut described = Described::new(Kind::Ec2);
    let root = format!("{VERSION}/meta-data");
    let id = service.needed(&format!("{root}/instance-id")).await?;
    described.add("instance-id", Some(id));
    for name in ["hostname", "local-ipv4", "public-ipv4"] {
        let value = service.optional(&format!("{root}/{name}")).await?;
        described.add(name, value);
    }
    let ipv6 = format!("{VERSION_IPV6}/meta-data/ipv6");
    described.add("ipv6", service.optional(&ipv6).await?);
    let list = service.optional(&format!("{root}/public-keys/")).await?;
    for number in numbers(&list.unwrap_or_default()).take(MOST_KEYS) {
        let path = format!("{root}/public-keys/{number}/openssh-key");
        let key = service.optional(&path).await?;
        described.add(&format!("public-keys/{number:05}"), key);
    }
    Ok((user_data, described))
}

/// What can be sent back in a header.
fn usable(token: Vec<u8>) -> Option<String> {
    let token = String::from_utf8(token).ok()?;
    let token = token.trim();
    let plain = token.len() <= 1024 && token.bytes().all(|byte| byte.is_ascii_graphic());
    (plain && !token.is_empty()).then(|| token.to_string())
}

/// The keys' numbers in lines such as `0=name`.
fn numbers(list: &[u8]) -> impl Iterator<Item = u16> {
    let list = String::from_utf8_lossy(list).into_owned();
    let numbers: Vec<u16> = list
        .lines()
        .filter_map(|line| line.split('=').next()?.trim().parse().ok())
        .collect();
    numbers.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_become_parts_of_a_path() {
        let list = b"0=me\n1=../../x\n/=a\n-1=b\n2 =c\n\xff\n70000=d\n";
        assert_eq!(numbers(list).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn a_page_is_no_token() {
        let cases: [(&[u8], Option<&str>); 4] = [
            (b"AQAEAL==\n", Some("AQAEAL==")),
            (b"<html> </html>", None),
            (b"", None),
            (&[b'a'; 1025], None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(usable(bytes.to_vec()).as_deref(), expected);
        }
    }
}
