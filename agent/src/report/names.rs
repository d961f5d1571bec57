//! The one list of metric names, their types, labels and meanings.

/// A metric's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "Prometheus' own words")]
pub enum Type {
    Counter,
    Gauge,
    Histogram,
}

/// One metric.
#[derive(Debug)]
pub struct Name {
    /// Its full name.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
    /// Its labels; each has a closed set of values, never a user, a path or a message.
    pub labels: &'static [&'static str],
    /// What it counts.
    pub help: &'static str,
}

macro_rules! names {
    ($($constant:ident $name:literal $kind:ident $labels:expr, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Name =
                Name { name: $name, kind: Type::$kind, labels: &$labels, help: $help };
        )*
        /// Every metric, in the order of the table.
        pub const NAMES: &[&Name] = &[$(&$constant,)*];
    };
}

names! {
    BUILD_INFO "homeport_build_info" Gauge ["version"],
        "Always 1; the version is in the label.";
    POLICY_LAST_LOAD_SUCCESSFUL "homeport_policy_last_load_successful" Gauge [],
        "1 if the newest policy set is in force, 0 if it was rejected or is missing.";
    POLICY_USING_LAST_GOOD "homeport_policy_using_last_good" Gauge [],
        "1 if the last good policy set is in force in place of a rejected one.";
    POLICY_SINCE "homeport_policy_in_force_since_timestamp_seconds" Gauge [],
        "When the policy set in force was first applied.";
    POLICY_PROBLEMS "homeport_policy_problems" Gauge [],
        "Diagnostics of the newest policy set.";
    POLICY_OBJECTS "homeport_policy_objects" Gauge [],
        "Policy objects in force.";
    DIRECTORY_REACHABLE "homeport_directory_reachable" Gauge [],
        "1 if the directory answered the last time it was asked.";
    DIRECTORY_ANSWER_AGE "homeport_directory_answer_age_seconds" Gauge [],
        "Age of the answer that the last decision rested on; 0 if it was asked, -1 if there was none.";
    DIRECTORY_SEARCHES "homeport_directory_searches_total" Counter [],
        "Searches sent to the directory.";
    DIRECTORY_CONNECTIONS "homeport_directory_connections_total" Counter [],
        "Connections to the directory that were bound.";
    DIRECTORY_ERRORS "homeport_directory_errors_total" Counter ["kind"],
        "Failures to get an answer of the directory, by what failed.";
    DIRECTORY_REQUEST_DURATION "homeport_directory_request_duration_seconds" Histogram [],
        "How long searches of the directory took.";
    NETWORK_COST "homeport_network_cost" Gauge ["cost"],
        "1 for what the network costs now, 0 for every other cost.";
    NETWORK_COST_SOURCE "homeport_network_cost_source" Gauge ["source"],
        "1 for whoever said what the network costs, 0 for everybody else.";
    METERED_LIMIT "homeport_metered_limit_bytes" Gauge [],
        "The daily limit for metered networks that was in force last; -1 if there is none.";
    METERED_BYTES "homeport_metered_bytes_today" Gauge [],
        "Bytes moved over metered networks since local midnight.";
    SESSIONS "homeport_sessions" Gauge [],
        "People signed in.";
    CYCLES "homeport_cycles_total" Counter ["occasion"],
        "Cycles run, by what they were run for.";
    LOGON_PHASE "homeport_logon_phase_seconds" Histogram ["phase"],
        "How long each phase of a sign-in or sign-out took.";
    CYCLE_DURATION "homeport_cycle_duration_seconds" Histogram ["occasion"],
        "How long cycles took.";
    CYCLE_FAILURES "homeport_cycle_failures_total" Counter ["occasion"],
        "Cycles that could not be finished, mostly because a worker was lost.";
    STEPS "homeport_steps_total" Counter ["step", "result"],
        "Steps carried out, by kind and by what became of them.";
    PRIMARY_DECISIONS "homeport_primary_computer_decisions_total" Counter ["result"],
        "Answers to whether this is a primary computer of the user.";
    PRIMARY_DIFFERENCES "homeport_primary_computer_differences" Gauge ["finding"],
        "Places in which policy's list of primary computers and the directory's differ.";
    CACHES "homeport_caches" Gauge ["mode"],
        "Offline caches, by the mode their connection is in.";
    MODE_CHANGES "homeport_mode_changes_total" Counter ["mode"],
        "Changes of an offline cache's mode, by the new one.";
    BACKGROUND_SYNCS "homeport_background_syncs_total" Counter ["cause"],
        "Background syncs of a cache that were begun, by why they were due.";
    SYNC_BYTES "homeport_sync_transferred_bytes_total" Counter ["direction"],
        "Bytes of file content moved in and out.";
    SYNC_LAST_SUCCESS "homeport_sync_last_success_timestamp_seconds" Gauge [],
        "When every cache of a signed-in user was last exchanged without a failure.";
    SYNC_NEXT "homeport_sync_next_timestamp_seconds" Gauge [],
        "When the next background sync is due; 0 if none is.";
    SYNC_WATCHER_HEALTHY "homeport_sync_watcher_healthy" Gauge [],
        "1 if local changes of every online cache are noticed at once, 0 if one waits for its turn.";
    SYNC_CONFLICTS "homeport_sync_conflicts_open" Gauge [],
        "Conflicts that wait for a person.";
    SYNC_PENDING_ITEMS "homeport_sync_pending_items" Gauge [],
        "Local changes that are not on their share yet.";
    SYNC_PENDING_BYTES "homeport_sync_pending_bytes" Gauge [],
        "Bytes of local changes that are not on their share yet.";
    SYNC_HELD_DELETES "homeport_sync_held_deletes" Gauge [],
        "Deletes that the brake holds until a person releases them.";
    SYNC_HELD_CHANGES "homeport_sync_held_changes" Gauge [],
        "Replaced files that the brake holds until a person releases them.";
    SYNC_HALTED "homeport_sync_halted" Gauge [],
        "Offline caches of which nothing is exchanged until a person says what happened to a root.";
    SYNC_ITEM_FAILURES "homeport_sync_item_failures_total" Counter [],
        "Files that could not be exchanged.";
}

/// The table of all metrics, in Markdown.
pub fn markdown() -> String {
    let mut out = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for Name { name, kind, labels, help } in NAMES {
        let kind = format!("{kind:?}").to_lowercase();
        let labels = labels.join(", ");
        out.push_str(&format!("| `{name}` | {kind} | {labels} | {help} |\n"));
    }
    out
}
