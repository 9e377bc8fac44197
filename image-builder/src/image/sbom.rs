//! The software bill of materials, SPDX 2.3 in JSON. No I/O.

use serde_json::{Value, json};

use crate::packages::Control;

/// The document's time is fixed like all others.
const CREATED: &str = "2026-01-01T00:00:00Z";

pub(super) fn document(version: &str, namespace: &str, controls: &[Control]) -> Value {
    let image = json!({
        "SPDXID": "SPDXRef-Image",
        "name": "strake",
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "OPERATING-SYSTEM",
    });
    let packages: Vec<Value> = std::iter::once(image)
        .chain(controls.iter().map(package))
        .collect();
    let describes = json!({
        "spdxElementId": "SPDXRef-DOCUMENT",
        "relationshipType": "DESCRIBES",
        "relatedSpdxElement": "SPDXRef-Image",
    });
    let contains = controls.iter().map(|control| {
        json!({
            "spdxElementId": "SPDXRef-Image",
            "relationshipType": "CONTAINS",
            "relatedSpdxElement": id(&control.package.name),
        })
    });
    let relationships: Vec<Value> = std::iter::once(describes).chain(contains).collect();
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("strake-{version}"),
        "documentNamespace": format!("urn:strake:sbom:{version}:{namespace}"),
        "creationInfo": {
            "created": CREATED,
            "creators": [concat!("Tool: strake-image-", env!("CARGO_PKG_VERSION"))],
        },
        "packages": packages,
        "relationships": relationships,
    })
}

fn package(control: &Control) -> Value {
    let package = &control.package;
    let (name, version) = (&package.name, &package.version);
    let supplier = match control.maintainer.is_empty() {
        true => "NOASSERTION".to_owned(),
        false => format!("Organization: {}", control.maintainer),
    };
    let locator = format!(
        "pkg:deb/debian/{}@{}?arch={}",
        encoded(name),
        encoded(version),
        package.architecture
    );
    let mut value = json!({
        "SPDXID": id(name),
        "name": name,
        "versionInfo": version,
        "supplier": supplier,
        "sourceInfo": format!("built from the Debian source package {}", control.source),
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "checksums": [{"algorithm": "SHA256", "checksumValue": package.sha256}],
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": locator,
        }],
    });
    if let Some(homepage) = &control.homepage {
        value["homepage"] = json!(homepage);
    }
    value
}

/// SPDX allows letters, digits, `.` and `-`; Debian's names have `+` besides.
fn id(name: &str) -> String {
    format!("SPDXRef-Package-{}", name.replace('+', "-plus"))
}

/// Percent-encoding of what a package URL does not allow as it is.
fn encoded(text: &str) -> String {
    text.replace('%', "%25")
        .replace('+', "%2B")
        .replace(':', "%3A")
        .replace('~', "%7E")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::packages::Package;

    #[test]
    fn every_package_is_contained_in_the_image_with_its_url() {
        let control = Control {
            package: Package {
                name: "libstdc++6".into(),
                version: "1:2+b1".into(),
                architecture: "amd64".into(),
                sha256: Digest::of(b"deb"),
            },
            source: "gcc".into(),
            maintainer: String::new(),
            homepage: None,
            files: Vec::new(),
        };
        let document = document("1.2", "abc", &[control]);
        let package = &document["packages"][1];
        assert_eq!(package["SPDXID"], "SPDXRef-Package-libstdc-plus-plus6");
        assert_eq!(
            package["externalRefs"][0]["referenceLocator"],
            "pkg:deb/debian/libstdc%2B%2B6@1%3A2%2Bb1?arch=amd64"
        );
        assert_eq!(
            document["relationships"][1]["relatedSpdxElement"],
            package["SPDXID"]
        );
    }
}
