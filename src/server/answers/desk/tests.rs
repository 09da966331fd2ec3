//! Who goes first, and how long others wait for that.

use super::*;

const NOTHING: Duration = Duration::ZERO;

/// Lets the client have used a place for so long.
fn use_up(desk: &Desk, client: &str, time: Duration) -> Arc<Client> {
    let client = desk.client(client);
    client.used.lock().time = time;
    client
}

#[tokio::test(start_paused = true)]
async fn who_used_the_places_least_lately_goes_first_whoever_asked_first() {
    let desk = Arc::new(Desk::new(1, 9));
    let turn = desk.turn(&desk.client("@x:x"), NOTHING).await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    for (name, used) in [("@much:x", 30), ("@some:x", 20), ("@none:x", 0), ("@none:x", 0), ("@less:x", 10)] {
        let (desk, tell) = (Arc::clone(&desk), tell.clone());
        let client = use_up(&desk, name, Duration::from_secs(used));
        tokio::spawn(async move {
            let turn = desk.turn(&client, NOTHING).await;
            tell.send(name).expect("is waited for");
            drop(turn);
        });
        tokio::task::yield_now().await;
    }
    drop((turn, tell));
    let mut order = Vec::new();
    while let Some(name) = told.recv().await {
        order.push(name);
    }
    assert_eq!(order, ["@none:x", "@none:x", "@less:x", "@some:x", "@much:x"]);
    assert_eq!(desk.free(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_long_turn_is_over_when_somebody_waits_who_goes_first() {
    let desk = Arc::new(Desk::new(1, 9));
    let mut long = desk.turn(&desk.client("@a:x"), NOTHING).await;
    tokio::time::advance(TURN).await;
    assert!(!long.is_over(), "nobody waits");
    let waits = |name: &'static str, used| {
        let client = use_up(&desk, name, Duration::from_secs(used));
        let desk = Arc::clone(&desk);
        tokio::spawn(async move { desk.turn(&client, NOTHING).await })
    };
    let later = waits("@b:x", 10);
    tokio::task::yield_now().await;
    tokio::time::advance(TURN).await;
    assert!(!long.is_over(), "who waits has used more");
    let first = waits("@c:x", 0);
    tokio::task::yield_now().await;
    assert!(!long.is_over(), "it has hardly begun");
    tokio::time::advance(TURN).await;
    assert!(long.is_over());
    let mut again = Box::pin(long.again());
    tokio::select! {
        biased;
        () = &mut again => panic!("it is the other's turn"),
        turn = first => drop(turn.expect("no panic")),
    }
    again.await;
    drop(long);
    drop(later.await.expect("no panic"));
    assert_eq!(desk.free(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_used_is_forgotten_while_nobody_waits() {
    let desk = Desk::new(1, 1);
    let client = use_up(&desk, "@a:x", Duration::from_secs(2));
    let lead = |client: &Arc<Client>| {
        let other = desk.client("@new:x").used.lock().time;
        client.used.lock().time.saturating_sub(other.max(desk.state.lock().floor))
    };
    tokio::time::advance(Duration::from_secs(8)).await;
    assert_eq!(lead(&client), Duration::from_secs(1));
    tokio::time::advance(Duration::from_secs(9)).await;
    assert_eq!(lead(&client), Duration::ZERO);
}

/// Somebody has so many turns, one after the other, each as long as this; says when one begins.
fn work(
    desk: &Arc<Desk>,
    (client, expected): (String, Duration),
    (turns, turn): (usize, Duration),
    tell: &tokio::sync::mpsc::UnboundedSender<String>,
) -> tokio::task::JoinHandle<()> {
    let (desk, tell) = (Arc::clone(desk), tell.clone());
    tokio::spawn(async move {
        let (who, _permit) = desk.admit(&client).await;
        let mut place = desk.turn(&who, expected).await;
        for n in 0..turns {
            tell.send(client.clone()).expect("is waited for");
            tokio::time::sleep(turn).await;
            if n + 1 < turns && place.is_over() {
                place.again().await;
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_little_waits_for_no_turns_but_those_that_go_on_whoever_asked_before() {
    let (turn, much) = (Duration::from_millis(300), Duration::from_millis(200));
    // Before anybody had a turn, in the first round, and long after it.
    for after in [0, 1, 3_000, 20_000, 90_000] {
        let desk = Arc::new(Desk::new(3, 2));
        let (tell, _told) = tokio::sync::mpsc::unbounded_channel();
        let all: Vec<_> =
            (0..120).map(|n| work(&desk, (format!("@u{}:x", n / 2), much), (20, turn), &tell)).collect();
        tokio::time::sleep(Duration::from_millis(after)).await;
        let asked = Instant::now();
        work(&desk, ("@new:x".into(), NOTHING), (2, turn / 3), &tell).await.expect("no panic");
        assert!(asked.elapsed() <= 3 * turn, "{:?} after {after} ms", asked.elapsed());
        all.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_had_a_turn_goes_behind_who_has_not_with_every_request_of_theirs() {
    let desk = Arc::new(Desk::new(1, 2));
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let held = desk.turn(&desk.client("@x:x"), NOTHING).await;
    for n in 0..8 {
        drop(work(&desk, (format!("@u{}:x", n / 2), NOTHING), (1, TURN), &tell));
    }
    tokio::task::yield_now().await;
    drop((held, tell));
    let mut order = Vec::new();
    while let Some(name) = told.recv().await {
        order.push(name);
    }
    let round = ["@u0:x", "@u1:x", "@u2:x", "@u3:x"];
    assert_eq!(order, [round, round].concat());
}

#[tokio::test(start_paused = true)]
async fn newcomers_however_many_keep_nobody_waiting_for_ever() {
    let desk = Arc::new(Desk::new(1, 2));
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let old = work(&desk, ("@old:x".into(), CREDIT), (40, TURN), &tell);
    let crowd: Vec<_> = (0..8)
        .map(|n| {
            let (desk, tell) = (Arc::clone(&desk), tell.clone());
            tokio::spawn(async move {
                loop {
                    let name = format!("@u{n}:x");
                    work(&desk, (name, NOTHING), (60, TURN), &tell).await.expect("no panic");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
        })
        .collect();
    tokio::time::timeout(Duration::from_secs(60), old).await.expect("has its turns").expect("no panic");
    crowd.iter().for_each(tokio::task::JoinHandle::abort);
    told.close();
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_given_to_who_has_gone_is_the_next_ones() {
    let desk = Arc::new(Desk::new(1, 9));
    let client = desk.client("@a:x");
    let turn = desk.turn(&client, NOTHING).await;
    let mut gone = Box::pin(desk.turn(&client, NOTHING));
    let mut next = Box::pin(desk.turn(&client, NOTHING));
    for waiting in [&mut gone, &mut next] {
        assert!(tokio::time::timeout(Duration::ZERO, waiting).await.is_err());
    }
    drop(turn);
    drop(gone);
    drop(tokio::time::timeout(Duration::from_secs(1), next).await.expect("is given one"));
    assert_eq!(desk.free(), 1);
}

#[test]
fn clients_without_requests_are_forgotten() {
    let desk = Desk::new(1, 1);
    for n in 0..10_000 {
        drop(desk.client(&format!("@u{n}:x")));
    }
    assert!(desk.state.lock().clients.len() < 100);
}
