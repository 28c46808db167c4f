//! What is in force is never less than what was asked, whatever the configuration and whatever runners promise.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use tokio::{net::UnixStream, sync::mpsc};

use super::*;
use crate::sandbox::double;

const HERE: Place = Place { device: 1, inode: 2 };
const LIMITS: Limits = Limits {
    seconds: 3600,
    memory_bytes: 2 << 30,
    processes: 512,
    cpu_millis: 500,
    tmp_bytes: 512 << 20,
    file_bytes: 4 << 30,
    output_bytes: 64 << 20,
};
const ELSEWHERE: Place = Place { device: 1, inode: 3 };

fn guarantees() -> impl Strategy<Value = Vec<Guarantee>> {
    // Mostly nearly all of them: so that what decides is one that lacks.
    prop_oneof![
        proptest::sample::subsequence(Guarantee::ALL.to_vec(), 0..=8),
        proptest::sample::subsequence(Guarantee::ALL.to_vec(), 6..=8),
        Just(Guarantee::ALL.to_vec()),
    ]
}

fn protected() -> impl Strategy<Value = Vec<String>> {
    let paths = vec![".envrc".to_owned(), "keys/".to_owned()];
    prop_oneof![3 => proptest::sample::subsequence(paths.clone(), 0..=2), 2 => Just(paths)]
}

/// What a backend's runner says, if there is one.
fn runner() -> impl Strategy<Value = Option<Ready>> {
    let version = prop_oneof![9 => Just(assistant_sandbox::protocol::VERSION), 1 => any::<u32>()];
    let place = prop_oneof![6 => Just(Some(HERE)), 1 => Just(Some(ELSEWHERE)), 1 => Just(None)];
    let limits = prop_oneof![
        6 => Just(Some(LIMITS)),
        1 => Just(None),
        1 => Just(Some(Limits { memory_bytes: 4 << 30, processes: 600, ..LIMITS })),
        1 => (0_usize..7).prop_map(|which| Some(lower(which))),
        1 => Just(Some(Limits { cpu_millis: 4000, ..LIMITS })),
    ];
    let net = prop_oneof![3 => Just(Net::Given(String::new())), 1 => Just(Net::Missing(String::new()))];
    let all = (version, guarantees(), protected(), place, limits, net);
    let ready = all.prop_map(|(version, guarantees, protect, workspace, limits, net)| Ready {
        net,
        version,
        guarantees: guarantees.into_iter().map(|guarantee| (guarantee, String::new())).collect(),
        protect,
        workspace,
        limits,
        ..double::ready(HERE)
    });
    proptest::option::weighted(0.8, ready)
}

fn suffices(ready: &Ready, wanted: &Wanted) -> bool {
    ready.version == assistant_sandbox::protocol::VERSION
        && wanted.guarantees.iter().all(|guarantee| ready.guarantees.contains_key(guarantee))
        && wanted.protect.iter().all(|path| ready.protect.contains(path))
        && ready.workspace == Some(HERE)
        && (wanted.level != Level::WorkNet || matches!(ready.net, Net::Given(_)))
        // More memory and processes than asked for are kept to what was asked, for each command.
        && ready.limits.is_some_and(|given| {
            given == LIMITS || given == Limits { memory_bytes: given.memory_bytes.max(LIMITS.memory_bytes), processes: given.processes.max(LIMITS.processes), ..LIMITS }
        })
}

/// One bound lower than it should be.
fn lower(which: usize) -> Limits {
    let mut limits = LIMITS;
    let all = [
        &mut limits.seconds,
        &mut limits.memory_bytes,
        &mut limits.processes,
        &mut limits.cpu_millis,
        &mut limits.tmp_bytes,
        &mut limits.file_bytes,
        &mut limits.output_bytes,
    ];
    *all.into_iter().nth(which).unwrap() /= 2;
    limits
}

/// Whether this combination is one that the documentation promises.
fn fits(backend: Backend, choice: Choice, level: Level) -> bool {
    let chosen = matches!(
        (choice, backend),
        (Choice::Auto, _)
            | (Choice::Unit, Backend::Unit)
            | (Choice::Namespace, Backend::Namespace)
            | (Choice::Docker, Backend::Docker)
            | (Choice::Landlock, Backend::Landlock)
    );
    chosen
        && (matches!(level, Level::Read | Level::Work | Level::WorkNet)
            || (level == Level::Container && backend == Backend::Docker))
}

/// Chooses among doubles and runs one command; the choice, and every command that any double was sent.
async fn attempt(
    choice: Choice,
    level: Level,
    wanted: &Wanted,
    runners: &[Option<Ready>; 4],
) -> (Option<Backend>, Vec<(Backend, Level)>) {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let tasks = tokio_util::task::TaskTracker::new();
    let open = |backend: Backend| -> BoxFuture<'_, Result<Session>> {
        let of = Backend::ALL.iter().position(|other| *other == backend).unwrap();
        let (tasks, sent) = (tasks.clone(), Arc::clone(&sent));
        Box::pin(async move {
            let Some(ready) = runners[of].clone() else { return Err(Error::unavailable("not installed")) };
            let (ours, theirs) = UnixStream::pair().unwrap();
            tasks.spawn(async move {
                let ran = double::serve(theirs, &ready).await;
                sent.lock().unwrap().extend(ran.into_iter().map(|exec| (backend, exec.level)));
            });
            Session::begin(ours, None).await
        })
    };
    let chosen = match Backend::candidates(choice, level) {
        Ok(candidates) => choose(&candidates, wanted, open).await.0,
        Err(_) => None,
    };
    let backend = chosen.as_ref().map(|(backend, _)| *backend);
    if let Some((_, mut session)) = chosen {
        let ((_nothing, input), (said, _heard)) = (mpsc::channel(1), mpsc::channel(9));
        session.run(&double::exec(level), input, said).await.unwrap();
    }
    tasks.close();
    tasks.wait().await;
    let sent = sent.lock().unwrap().clone();
    (backend, sent)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_in_force_is_never_less_than_what_was_asked(
        choice in proptest::sample::select(vec![Choice::Auto, Choice::Unit, Choice::Namespace, Choice::Docker, Choice::Landlock]),
        level in proptest::sample::select(vec![Level::Read, Level::Work, Level::WorkNet, Level::Container]),
        guarantees in guarantees(),
        protect in protected(),
        runners in [runner(), runner(), runner(), runner()],
    ) {
        let wanted = Wanted { guarantees, protect, workspace: HERE, level, limits: LIMITS };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (chosen, sent) = runtime.block_on(attempt(choice, level, &wanted, &runners));
        // The first that will do, said without any of the code that is tried here.
        let expected = Backend::ALL.into_iter().zip(&runners).find(|(backend, ready)| {
            fits(*backend, choice, level) && ready.as_ref().is_some_and(|ready| suffices(ready, &wanted))
        });
        let expected = expected.map(|(backend, _)| backend);
        prop_assert_eq!(chosen, expected);
        // Nobody else was sent anything to run, and nobody at another level.
        let ran: Vec<_> = expected.into_iter().map(|backend| (backend, level)).collect();
        prop_assert_eq!(sent, ran);
    }
}

/// Every choice, level and combination of backends that are not there, lack one guarantee, or give everything.
#[test]
fn no_combination_of_hosts_and_configurations_gives_less_than_was_asked() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let choices = [Choice::Auto, Choice::Unit, Choice::Namespace, Choice::Docker, Choice::Landlock];
    let (mut refused, mut taken) = (0, 0);
    for (lacked, of) in Guarantee::ALL.into_iter().zip(0_usize..) {
        let all = Ready { limits: Some(LIMITS), ..double::ready(HERE) };
        let mut less = all.clone();
        less.guarantees.remove(&lacked);
        let abilities = [None, Some(less), Some(all)];
        for host in 0..81 {
            let ability = |backend: u32| (host / 3_usize.pow(backend)) % 3;
            let runners = [0, 1, 2, 3].map(|backend| abilities[ability(backend)].clone());
            // All of them at each choice and level; what is lacked is another guarantee each time.
            let (choice, level) =
                (choices[(host + of) % 5], [Level::Read, Level::Work, Level::WorkNet, Level::Container]);
            for level in level {
                for guarantees in
                    [Guarantee::ALL.to_vec(), Guarantee::ALL.into_iter().filter(|g| *g != lacked).collect()]
                {
                    let enough = if guarantees.len() == Guarantee::ALL.len() { 2 } else { 1 };
                    let wanted = Wanted { guarantees, protect: Vec::new(), workspace: HERE, level, limits: LIMITS };
                    let (chosen, sent) = runtime.block_on(attempt(choice, level, &wanted, &runners));
                    let expected = (0..4).find(|backend| {
                        let docker = *backend == 2;
                        (level != Level::Container || docker)
                            && ability(*backend) >= enough
                            && (choice == Choice::Auto || choice == choices[*backend as usize + 1])
                    });
                    let expected = expected.map(|backend| Backend::ALL[backend as usize]);
                    assert_eq!(chosen, expected, "{choice:?} {level:?} {wanted:?} {host}");
                    assert_eq!(sent, expected.map(|backend| (backend, level)).into_iter().collect::<Vec<_>>());
                    *if expected.is_some() { &mut taken } else { &mut refused } += 1;
                }
            }
        }
    }
    assert!(taken > 500 && refused > 500, "{taken} {refused}");
}

#[test]
fn a_runner_that_gives_too_little_is_told_why() {
    let (guarantees, protect) = (Guarantee::ALL.to_vec(), vec![".envrc".to_owned()]);
    let wanted = Wanted { guarantees, protect, workspace: HERE, level: Level::WorkNet, limits: LIMITS };
    let mut ready = Ready { limits: Some(LIMITS), ..double::ready(HERE) };
    assert!(wanted.check(&ready).unwrap_err().message().contains(".envrc"));
    ready.protect = wanted.protect.clone();
    wanted.check(&ready).unwrap();
    ready.net = Net::Missing("the runner was started without --proxy".to_owned());
    assert!(wanted.check(&ready).unwrap_err().message().contains("work+net (the runner was started without --proxy)"));
    Wanted { level: Level::Work, ..wanted.clone() }.check(&ready).unwrap();
    ready.net = Net::Given(String::new());
    let bound =
        |limits| wanted.check(&Ready { limits: Some(limits), ..ready.clone() }).map_err(|err| err.message().to_owned());
    assert_eq!(bound(Limits { memory_bytes: 4 << 30, ..LIMITS }), Ok(()), "commands get what was asked");
    let err = bound(Limits { memory_bytes: 1 << 30, ..LIMITS }).unwrap_err();
    assert!(err.contains("sandbox.memory is about at 1073741824"), "{err}");
    let err = bound(Limits { cpu_millis: 2000, ..LIMITS }).unwrap_err();
    assert!(err.contains("sandbox.cpus"), "{err}");
    ready.workspace = Some(ELSEWHERE);
    assert!(wanted.check(&ready).unwrap_err().message().contains("another workspace"));
    ready.guarantees.remove(&Guarantee::UnixSockets);
    ready.missing.insert(Guarantee::UnixSockets, "the host's /run is to be seen".to_owned());
    let err = wanted.check(&ready).unwrap_err();
    assert_eq!(err.message(), "without unix_sockets (the host's /run is to be seen)");
}
