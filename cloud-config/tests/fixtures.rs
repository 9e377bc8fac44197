//! Whole documents: what each valid one is planned as, and what is said about each invalid one.
//! `UPDATE_GOLDEN=1` writes the expectations anew.

use std::fs;
use std::path::{Path, PathBuf};

use strake_cloud_config::report::{Style, human};
use strake_cloud_config::{Address, Addresses, Checked, Context, check, plan};

fn context() -> Context {
    Context {
        addresses: Addresses {
            private_ipv4: Address::Known([10, 0, 0, 7].into()),
            ..Addresses::default()
        },
        hostname: Some("before".into()),
    }
}

fn cases(kind: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(kind);
    let entries = fs::read_dir(directory).expect("the directory of the fixtures");
    let mut cases: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_none_or(|extension| extension != "expected")
        })
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

#[track_caller]
fn compare(case: &Path, found: &str) {
    let expected = PathBuf::from(format!("{}.expected", case.display()));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return fs::write(expected, found).expect("the expectation can be written");
    }
    let text = fs::read_to_string(&expected).unwrap_or_default();
    assert_eq!(found, text, "{}", case.display());
}

fn problems(checked: &Checked) -> String {
    human(&checked.problems, "user_data", Style::Plain)
}

#[test]
fn a_valid_document_is_planned_as_expected() {
    for case in cases("valid") {
        let checked = check(&fs::read(&case).expect("a fixture"), &context());
        let config = checked.config.as_ref();
        let config = config.unwrap_or_else(|| panic!("{}\n{}", case.display(), problems(&checked)));
        let plan = plan(config, &context());
        compare(&case, &format!("{}{plan:#}", problems(&checked)));
    }
}

#[test]
fn an_invalid_document_is_refused_with_every_problem() {
    for case in cases("invalid") {
        let checked = check(&fs::read(&case).expect("a fixture"), &context());
        assert!(
            checked.config.is_none() && checked.has_errors(),
            "{}",
            case.display()
        );
        compare(&case, &problems(&checked));
    }
}
