//! What a unit needs to be loaded at all, its own text and its drop-ins together: the rules by
//! which systemd refuses a unit that is well-formed line by line.

use super::findings::{Findings, Path};
use super::view::flag;
use crate::document::Node;
use crate::problem::{Level, Rule};
use crate::unit_file::UnitFile;
use crate::unit_name::{UnitName, escape_path};

const LISTEN: &[&str] = &[
    "ListenStream",
    "ListenDatagram",
    "ListenSequentialPacket",
    "ListenFIFO",
    "ListenSpecial",
    "ListenNetlink",
    "ListenMessageQueue",
    "ListenUSBFunction",
];
const ON: &[&str] = &[
    "OnActiveSec",
    "OnBootSec",
    "OnStartupSec",
    "OnUnitActiveSec",
    "OnUnitInactiveSec",
    "OnCalendar",
    "OnClockChange",
    "OnTimezoneChange",
];
const PATHS: &[&str] = &[
    "PathExists",
    "PathExistsGlob",
    "PathChanged",
    "PathModified",
    "DirectoryNotEmpty",
];

pub(crate) fn check_whole(
    name: &UnitName,
    node: &Node<'_>,
    drop_ins: &[&str],
    path: &Path<'_>,
    out: &mut Findings<'_>,
) {
    let Some(text) = node.text() else { return };
    let texts = std::iter::once(text).chain(drop_ins.iter().copied());
    let all = Together(texts.map(UnitFile::parse).collect());
    // A text that cannot be read line by line has been complained about.
    if all
        .0
        .iter()
        .flat_map(|file| &file.faults)
        .any(|fault| fault.level == Level::Error)
    {
        return;
    }
    if let Some(Refusal {
        message,
        hint,
        section,
        key,
    }) = refusal(name, &all)
    {
        let line = all.0[0].last_line(section, key);
        let length = text.lines().nth(line).map_or(1, str::len);
        let place = out.place_in(node, line, 0..length);
        out.add((Level::Error, Rule::UnitFile), &place, path, message)
            .hint(hint);
    }
}

/// Why systemd would not load the unit, and the setting this is about.
struct Refusal {
    message: String,
    hint: String,
    section: &'static str,
    key: &'static str,
}

/// A section and a key in it.
type Setting = (&'static str, &'static str);

fn refuse((section, key): Setting, message: &str, hint: &str) -> Option<Refusal> {
    Some(Refusal {
        message: message.to_owned(),
        hint: hint.to_owned(),
        section,
        key,
    })
}

fn refusal(name: &UnitName, all: &Together<'_>) -> Option<Refusal> {
    let (section, keys, message, hint): (_, &[&str], _, _) = match name.kind() {
        "service" => return service(all),
        "mount" => return located(name, all, "Mount"),
        "automount" => return located(name, all, "Automount"),
        "socket" => (
            "Socket",
            LISTEN,
            "the socket listens on nothing",
            "add ListenStream=",
        ),
        "timer" => (
            "Timer",
            ON,
            "the timer never elapses",
            "add OnCalendar= or OnBootSec=",
        ),
        "path" => (
            "Path",
            PATHS,
            "the path unit watches nothing",
            "add PathExists=",
        ),
        "swap" => (
            "Swap",
            &["What"],
            "the swap unit has no What=",
            "name the device or file",
        ),
        "netdev" => (
            "NetDev",
            &["Kind"],
            "the netdev has no Kind=",
            "add Kind= below [NetDev]",
        ),
        _ => return None,
    };
    let given = keys.iter().any(|key| !all.list(section, key).is_empty());
    if given {
        None
    } else {
        refuse((section, ""), message, hint)
    }
}

fn service(all: &Together<'_>) -> Option<Refusal> {
    const START: Setting = ("Service", "ExecStart");
    if !all.0.iter().any(|file| file.section("Service").is_some()) {
        let hint = "add [Service] with ExecStart=";
        return refuse(START, "the service has no [Service] section", hint);
    }
    let kind = all.last("Service", "Type").unwrap_or("simple");
    let starts = all.list("Service", "ExecStart").len();
    let stops = !all.list("Service", "ExecStop").is_empty();
    let acts = all.last("Unit", "SuccessAction").is_some();
    let stays = all.last("Service", "RemainAfterExit").and_then(flag) == Some(true);
    match (starts, kind) {
        (0, _) if !stops && !acts => {
            let hint = "say what to run: ExecStart=/path/to/program";
            refuse(START, "the service has no ExecStart=", hint)
        }
        (0, kind) if kind != "oneshot" && !acts && !stays => {
            let hint = "add ExecStart=, or RemainAfterExit=yes if there is nothing to start";
            refuse(
                ("Service", "ExecStop"),
                "the service has ExecStop= alone",
                hint,
            )
        }
        (2.., kind) if kind != "oneshot" => {
            let hint = "only Type=oneshot takes several; use ExecStartPre= for what runs before";
            refuse(START, "the service has more than one ExecStart=", hint)
        }
        (_, "oneshot")
            if matches!(
                all.last("Service", "Restart"),
                Some("always" | "on-success")
            ) =>
        {
            let message = "Restart=always and on-success are not possible with Type=oneshot";
            refuse(("Service", "Restart"), message, "use Restart=on-failure")
        }
        (_, "dbus") if all.last("Service", "BusName").is_none() => {
            let hint = "add BusName=, or use another Type=";
            refuse(("Service", "Type"), "Type=dbus needs BusName=", hint)
        }
        _ => None,
    }
}

fn located(name: &UnitName, all: &Together<'_>, section: &'static str) -> Option<Refusal> {
    let Some(point) = all.last(section, "Where") else {
        return refuse(
            (section, ""),
            "the unit has no Where=",
            "add the mount point",
        );
    };
    let expected = format!("{}.{}", escape_path(point), name.kind());
    if !point.contains('%') && expected != name.as_str() {
        let message = format!("the name of the unit does not fit Where={point}");
        return refuse((section, "Where"), &message, &format!("name it {expected}"));
    }
    if section == "Mount" && all.last("Mount", "What").is_none() {
        return refuse(
            (section, ""),
            "the mount has no What=",
            "name what to mount",
        );
    }
    None
}

/// A unit's own file and its drop-ins, read one after the other.
struct Together<'f>(Vec<UnitFile<'f>>);

impl<'f> Together<'f> {
    /// The values in force: an empty assignment drops those before it.
    fn list(&self, section: &'f str, key: &'f str) -> Vec<&str> {
        let mut values = Vec::new();
        for value in self.0.iter().flat_map(|file| file.values(section, key)) {
            match value {
                "" => values.clear(),
                _ => values.push(value),
            }
        }
        values
    }

    fn last(&self, section: &'f str, key: &'f str) -> Option<&str> {
        self.list(section, key).pop()
    }
}
