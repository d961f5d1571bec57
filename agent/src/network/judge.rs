//! What NetworkManager and ModemManager say, as one of the costs that policy knows (pure).

use homeport_policy::facts::Cost;
use serde::{Deserialize, Serialize};

/// `NMMetered` of NetworkManager's D-Bus interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metered {
    /// It does not know, or there is no connection.
    #[default]
    Unknown,
    /// The connection is set to be metered.
    Yes,
    /// The connection is set not to be.
    No,
    /// It looks so: a phone's tether or hotspot says so, or it is a modem.
    GuessYes,
    /// It does not look so.
    GuessNo,
}

impl Metered {
    /// From the number of `NMMetered`; one of a later version is not known.
    pub fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Yes,
            2 => Self::No,
            3 => Self::GuessYes,
            4 => Self::GuessNo,
            _ => Self::Unknown,
        }
    }
}

/// A modem as ModemManager has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modem {
    /// `Modem.State`, of `MMModemState`.
    pub state: i32,
    /// `Modem.Modem3gpp.RegistrationState`, of `MMModem3gppRegistrationState`; `None` where the
    /// modem has no such interface.
    pub registration: Option<u32>,
}

impl Modem {
    /// `MM_MODEM_STATE_CONNECTED`.
    const CONNECTED: i32 = 11;
    /// `…_ROAMING`, `…_ROAMING_SMS_ONLY`, `…_ROAMING_CSFB_NOT_PREFERRED`.
    const ROAMING: [u32; 3] = [5, 7, 10];

    /// Whether it carries data over another provider's network.
    fn roams(self) -> bool {
        self.state == Self::CONNECTED
            && self.registration.is_some_and(|state| Self::ROAMING.contains(&state))
    }
}

/// What the two services said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// NetworkManager; `None` where it is not on the bus.
    pub manager: Option<Manager>,
    /// The modems; empty where ModemManager is not on the bus.
    pub modems: Vec<Modem>,
}

/// What NetworkManager said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manager {
    /// `Metered`: that of the primary connection's device.
    pub metered: Metered,
    /// `PrimaryConnection`; "/" is none.
    pub primary: String,
    /// `PrimaryConnectionType`: `802-3-ethernet`, `gsm`, …
    pub kind: String,
}

impl Manager {
    /// Whether a modem may be what data travels over.
    fn is_mobile(&self) -> bool {
        matches!(self.kind.as_str(), "gsm" | "cdma")
    }
}

/// Who said what the network costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// `network.cost` of the settings.
    #[default]
    Settings,
    /// The file that the settings name.
    CostFile,
    /// NetworkManager.
    NetworkManager,
    /// ModemManager.
    ModemManager,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 4] =
        [Self::Settings, Self::CostFile, Self::NetworkManager, Self::ModemManager];

    /// The word in status and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::CostFile => "cost-file",
            Self::NetworkManager => "network-manager",
            Self::ModemManager => "modem-manager",
        }
    }
}

/// What the network costs, who says so, and in which words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// The cost.
    pub cost: Cost,
    /// Who says so.
    pub source: Source,
    /// For people.
    pub why: String,
}

impl Finding {
    /// A finding.
    pub fn new(cost: Cost, source: Source, why: impl Into<String>) -> Self {
        Self { cost, source, why: why.into() }
    }
}

/// What a reading comes to; where it says nothing, `fixed` holds.
///
/// Roaming counts while a modem carries the data, and says more than *metered*. A guess counts like a
/// word: *guess-yes* is what phones' tethers and modems are, and *metered* by itself stops nothing;
/// it only counts against `daily-limit` (`windows-semantics` 6: FIXED and VARIABLE do not block).
pub fn judge(reading: &Reading, fixed: Cost) -> Finding {
    let on_modem = reading.manager.as_ref().is_none_or(Manager::is_mobile);
    if on_modem && reading.modems.iter().any(|modem| modem.roams()) {
        let why = "ModemManager says that the modem is roaming";
        return Finding::new(Cost::Roaming, Source::ModemManager, why);
    }
    let from = |cost, why: &str| Finding::new(cost, Source::NetworkManager, why);
    let fixed = |why: &str| Finding::new(fixed, Source::Settings, why);
    match reading.manager.as_ref().map(|manager| manager.metered) {
        None => fixed("the settings say so; NetworkManager is not on the bus"),
        Some(Metered::Unknown) => fixed("the settings say so; NetworkManager does not know"),
        Some(Metered::Yes) => from(Cost::Metered, "NetworkManager says that it is metered"),
        Some(Metered::GuessYes) => from(Cost::Metered, "NetworkManager guesses that it is metered"),
        Some(Metered::No) => from(Cost::Unrestricted, "NetworkManager says that it is not metered"),
        Some(Metered::GuessNo) => {
            from(Cost::Unrestricted, "NetworkManager guesses that it is not metered")
        }
    }
}

/// What is new in the network, for whoever is to be woken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// In words; it ends up in log and status.
    pub cause: String,
    /// What nobody asked for and is under way has to stop: it would cost more than it was begun for.
    pub costs_more: bool,
}

/// What is new between two readings.
pub fn change(before: &Finding, after: &Finding, primary: [Option<&str>; 2]) -> Option<Change> {
    let (old, new) = (before.cost, after.cost);
    if old != new {
        let (old_name, new_name) = (old.name(), new.name());
        let cause = format!("the network's cost changed from {old_name} to {new_name}");
        let costs_more = (new.blocks() && !old.blocks()) || (new.is_metered() && !old.is_metered());
        return Some(Change { cause, costs_more });
    }
    (primary[0] != primary[1])
        .then(|| Change { cause: "the network changed".to_owned(), costs_more: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(metered: u32, kind: &str, modems: &[(i32, u32)]) -> Reading {
        let metered = Metered::from_number(metered);
        let manager = Manager { metered, primary: "/1".to_owned(), kind: kind.to_owned() };
        let modem =
            |&(state, registration): &(i32, u32)| Modem { state, registration: Some(registration) };
        Reading { manager: Some(manager), modems: modems.iter().map(modem).collect() }
    }

    #[test]
    fn each_word_of_the_services_has_its_cost() {
        let wifi = "802-11-wireless";
        for (reading, cost, source) in [
            (reading(0, wifi, &[]), Cost::OverLimit, Source::Settings),
            (reading(1, wifi, &[]), Cost::Metered, Source::NetworkManager),
            (reading(2, wifi, &[]), Cost::Unrestricted, Source::NetworkManager),
            (reading(3, wifi, &[]), Cost::Metered, Source::NetworkManager),
            (reading(4, wifi, &[]), Cost::Unrestricted, Source::NetworkManager),
            (reading(99, wifi, &[]), Cost::OverLimit, Source::Settings),
            // At home, roaming, roaming for messages, roaming on 4G; searching.
            (reading(3, "gsm", &[(11, 1)]), Cost::Metered, Source::NetworkManager),
            (reading(3, "gsm", &[(11, 5)]), Cost::Roaming, Source::ModemManager),
            (reading(3, "gsm", &[(11, 1), (11, 10)]), Cost::Roaming, Source::ModemManager),
            (reading(0, "gsm", &[(11, 7)]), Cost::Roaming, Source::ModemManager),
            (reading(3, "gsm", &[(7, 2)]), Cost::Metered, Source::NetworkManager),
            // Registered abroad, but data goes over the hotel's wireless network.
            (reading(2, wifi, &[(8, 5)]), Cost::Unrestricted, Source::NetworkManager),
            (reading(2, wifi, &[(11, 5)]), Cost::Unrestricted, Source::NetworkManager),
            // Another program manages the network; the modem is connected all the same.
            (
                Reading { manager: None, ..reading(0, "", &[(11, 5)]) },
                Cost::Roaming,
                Source::ModemManager,
            ),
            (
                Reading { manager: None, ..reading(0, "", &[(8, 5)]) },
                Cost::OverLimit,
                Source::Settings,
            ),
            (Reading::default(), Cost::OverLimit, Source::Settings),
        ] {
            let found = judge(&reading, Cost::OverLimit);
            assert_eq!((found.cost, found.source), (cost, source), "{reading:?}");
        }
    }

    #[test]
    fn only_what_is_dearer_stops_what_is_under_way() {
        let finding = |cost| Finding::new(cost, Source::NetworkManager, "");
        for (old, new, primary, expected) in [
            (Cost::Unrestricted, Cost::Unrestricted, ["/1", "/1"], None),
            (Cost::Unrestricted, Cost::Unrestricted, ["/1", "/2"], Some(false)),
            (Cost::Unrestricted, Cost::Metered, ["/1", "/1"], Some(true)),
            (Cost::Unrestricted, Cost::Roaming, ["/1", "/2"], Some(true)),
            (Cost::Metered, Cost::Roaming, ["/1", "/1"], Some(true)),
            (Cost::Metered, Cost::Unrestricted, ["/1", "/1"], Some(false)),
            (Cost::Roaming, Cost::Metered, ["/1", "/1"], Some(false)),
        ] {
            let found = change(&finding(old), &finding(new), primary.map(Some));
            assert_eq!(found.map(|change| change.costs_more), expected, "{old:?} {new:?}");
        }
        let found = change(&finding(Cost::Roaming), &finding(Cost::Metered), [None, None]);
        let cause = "the network's cost changed from roaming to metered";
        assert_eq!(found.map(|change| change.cause).as_deref(), Some(cause));
    }
}
