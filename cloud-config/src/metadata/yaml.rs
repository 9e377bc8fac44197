use super::{Error, Metadata, hostname, keys};
use crate::check::View;
use crate::document::{Node, Value, parse};
use crate::network::{debian, render};

/// NoCloud's `meta-data`.
pub fn nocloud(bytes: &[u8]) -> Result<Metadata, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::Yaml("NoCloud"))?;
    let document = parse(text);
    let root = match (&document.root, text.trim().is_empty()) {
        (Some(root), _) if matches!(root.value, Value::Map(_) | Value::Null) => root,
        (None, true) => return Ok(Metadata::default()),
        _ if document.faults.is_empty() && document.root.is_none() => {
            return Ok(Metadata::default());
        }
        _ => return Err(Error::Yaml("NoCloud")),
    };
    let view = View::new(root);
    let name = view.text("local_hostname").or(view.text("hostname"));
    let network = view
        .text("network_interfaces")
        .map(debian::parse)
        .unwrap_or_default();
    Ok(Metadata {
        hostname: name.and_then(hostname),
        ssh_authorized_keys: view.get("public_keys").map(public_keys).unwrap_or_default(),
        network: render(&network),
        ..Metadata::default()
    })
}

/// One text, a list, or a mapping of names to either.
fn public_keys(node: &Node<'_>) -> Vec<String> {
    match &node.value {
        Value::Null => Vec::new(),
        Value::Scalar(text, _) => keys([&**text]),
        Value::List(items) => keys(items.iter().filter_map(Node::text)),
        Value::Map(entries) => entries
            .iter()
            .flat_map(|entry| public_keys(&entry.value))
            .collect(),
    }
}
