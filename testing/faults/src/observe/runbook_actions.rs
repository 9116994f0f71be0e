//! The operator's action for each fault, and the runbooks that describe it.

/// The expected action of an operator on a fault.
#[derive(Debug)]
pub struct RunbookAction {
    /// The scenario.
    pub scenario: &'static str,
    /// The action, in a sentence or two.
    pub words: &'static str,
    /// Pages of docs/runbooks, by the names of their alerts.
    pub runbooks: &'static [&'static str],
}

const fn runbook_action(
    scenario: &'static str,
    words: &'static str,
    runbooks: &'static [&'static str],
) -> RunbookAction {
    RunbookAction {
        scenario,
        words,
        runbooks,
    }
}

/// Of every scenario.
pub static RUNBOOK_ACTIONS: &[RunbookAction] = &[
    runbook_action(
        "worker-kill",
        "Nothing for one start. For three in 15 minutes: who kills it, or what is the last line of its log?",
        &["AcequiaWorkerRestarting"],
    ),
    runbook_action(
        "worker-stop",
        "Continue it or kill it; the service manager starts another.",
        &["AcequiaWorkerAbsent", "AcequiaTargetDown"],
    ),
    runbook_action(
        "crash-after-commit",
        "Nothing for one start. For three in 15 minutes: the last line of its log. Copies are recognised.",
        &["AcequiaWorkerRestarting"],
    ),
    runbook_action(
        "broker-kill",
        "Start the broker. Workers and publishers come back by themselves.",
        &["AcequiaTargetDown", "AcequiaNotReady"],
    ),
    runbook_action(
        "memory-alarm",
        "Let workers drain the queues, or give the broker memory. Publishers go on by themselves.",
        &["RabbitmqAlarm"],
    ),
    runbook_action(
        "disk-alarm",
        "Free the broker's disk. Publishers go on by themselves.",
        &["RabbitmqAlarm"],
    ),
    runbook_action(
        "connections-closed",
        "Nothing for once. If it goes on: who closes them, as the broker's log says?",
        &["AcequiaConsumingInterrupted"],
    ),
    runbook_action(
        "queue-deleted",
        "The worker declares it again; let publishers send again what came back to them.",
        &["RabbitmqUnroutable", "AcequiaConsumingInterrupted"],
    ),
    runbook_action(
        "database-crash",
        "Start PostgreSQL. Workers come back by themselves.",
        &["PostgresqlDown", "AcequiaLoopFailing"],
    ),
    runbook_action(
        "database-freeze",
        "Find what stops the server: its disk, its machine. Workers come back by themselves.",
        &["AcequiaNotReady", "AcequiaDatabaseUnreadable"],
    ),
    runbook_action(
        "backends-ended",
        "Nothing for once. If it goes on: who ends them, as the server's log says?",
        &["AcequiaLoopFailing", "AcequiaBatchRetries"],
    ),
    runbook_action(
        "lock-held",
        "End who holds the lock: the PostgreSQL dashboard names it.",
        &["AcequiaNotReady", "PostgresqlLongTransaction"],
    ),
    runbook_action(
        "disk-full",
        "Make room where PostgreSQL's data lies; /readyz has the server's words.",
        &["AcequiaNotReady", "AcequiaBatchRetries"],
    ),
    runbook_action(
        "broker-cut",
        "Mend the network. Workers come back by themselves.",
        &["AcequiaNotReady", "AcequiaQueueWithoutConsumer"],
    ),
    runbook_action(
        "database-cut",
        "Mend the network. Workers come back by themselves.",
        &["AcequiaNotReady", "AcequiaDatabaseUnreadable"],
    ),
    runbook_action(
        "broker-latency",
        "It is the broker or the way to it, not the worker: look at its disk, its load, the network.",
        &["AcequiaBrokerSlow"],
    ),
    runbook_action(
        "database-latency",
        "It is the database or the way to it, not the worker: look at its load, its disk, the network.",
        &["AcequiaDatabaseSlow"],
    ),
    runbook_action(
        "poison",
        "Nothing at once: the broker gives the message up. Then look at it in quarantine (`delivery_limit`) and mend the worker.",
        &["AcequiaWorkerRestarting", "AcequiaDeadLetters"],
    ),
    runbook_action(
        "four-workers",
        "Nothing: copies are dropped. Ask the publisher why it sends twice.",
        &["AcequiaRedeliveries"],
    ),
    runbook_action(
        "clock-skew",
        "Tell the publisher that its clock is wrong: what is from the future is in quarantine.",
        &["AcequiaQuarantineGrowing"],
    ),
    runbook_action(
        "migration-race",
        "Nothing. On exit status 2 read the line `error:` and run `worker migrate` again: it does no harm.",
        &[],
    ),
    runbook_action(
        "hostile",
        "Tell the publisher code and field; replay or discard what is in quarantine.",
        &["AcequiaQuarantineGrowing", "AcequiaRejectRatioHigh"],
    ),
    runbook_action(
        "hostile-deliveries",
        "Tell the publisher the property; replay or discard what is in quarantine.",
        &["AcequiaQuarantineGrowing", "AcequiaRejectRatioHigh"],
    ),
    runbook_action(
        "cluster-node-kill",
        "Bring the node back. The queue has a new leader meanwhile.",
        &["AcequiaNotReady", "AcequiaConsumingInterrupted"],
    ),
];

/// The action for the fault of a scenario, in Markdown that stands in docs.
#[must_use]
pub fn runbook_action_of(scenario: &str) -> String {
    let Some(action) = RUNBOOK_ACTIONS
        .iter()
        .find(|known| known.scenario == scenario)
    else {
        return String::new();
    };
    let links = action.runbooks.iter();
    let links: Vec<String> = links
        .map(|name| format!("[{name}](runbooks/{name}.md)"))
        .collect();
    match links.len() {
        0 => action.words.to_owned(),
        _ => format!("{} {}", action.words, links.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use acequia_testkit::root;

    use super::*;

    #[test]
    fn every_scenario_has_one_and_every_runbook_is_there() {
        for scenario in crate::all() {
            let known = RUNBOOK_ACTIONS.iter();
            let known = known.filter(|action| action.scenario == scenario.name);
            assert_eq!(known.count(), 1, "{}", scenario.name);
        }
        assert_eq!(RUNBOOK_ACTIONS.len(), crate::all().len());
        for name in RUNBOOK_ACTIONS.iter().flat_map(|action| action.runbooks) {
            let page = root().join(format!("docs/runbooks/{name}.md"));
            assert!(page.is_file(), "{name}");
        }
    }
}
