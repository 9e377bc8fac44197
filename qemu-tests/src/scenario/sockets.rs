//! Who listens, from the output of `ss -H -lntup`. Pure.

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) protocol: String,
    /// Without its interface.
    pub(super) address: String,
    pub(super) port: u16,
    pub(super) program: String,
}

/// Sockets that other machines can reach.
pub(super) fn reachable(output: &str) -> Vec<Listener> {
    let listeners = output.lines().filter_map(parse);
    listeners
        .filter(|listener| !is_loopback(&listener.address))
        .collect()
}

/// `tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))`
fn parse(line: &str) -> Option<Listener> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (address, port) = fields.get(4)?.rsplit_once(':')?;
    let users = fields.get(6).copied().unwrap_or_default();
    Some(Listener {
        protocol: fields[0].to_owned(),
        address: address.split('%').next().unwrap_or(address).to_owned(),
        port: port.parse().ok()?,
        program: users.split('"').nth(1).unwrap_or("?").to_owned(),
    })
}

fn is_loopback(address: &str) -> bool {
    let bare = address
        .trim_start_matches("[::ffff:")
        .trim_matches(['[', ']']);
    bare == "::1" || bare.starts_with("127.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_not_the_network() {
        let output = "\
udp UNCONN 0 0 127.0.0.54:53 0.0.0.0:* users:((\"systemd-resolve\",pid=5,fd=18))
udp UNCONN 0 0 10.0.2.15%ens2:68 0.0.0.0:* users:((\"systemd-network\",pid=4,fd=22))
tcp LISTEN 0 128 [::1]:2379 [::]:* users:((\"etcd\",pid=7,fd=7))
tcp LISTEN 0 128 [::ffff:127.0.0.1]:90 *:* users:((\"x\",pid=7,fd=7))
tcp LISTEN 0 4096 *:22 *:* users:((\"sshd\",pid=9,fd=3),(\"systemd\",pid=1,fd=80))
tcp LISTEN 0 4096 0.0.0.0:80 0.0.0.0:*
";
        let found: Vec<(String, u16, String)> = reachable(output)
            .into_iter()
            .map(|one| (one.address, one.port, one.program))
            .collect();
        let expected = [
            ("10.0.2.15", 68, "systemd-network"),
            ("*", 22, "sshd"),
            ("0.0.0.0", 80, "?"),
        ];
        assert_eq!(
            found,
            expected.map(|(a, p, n)| (a.to_owned(), p, n.to_owned()))
        );
    }
}
