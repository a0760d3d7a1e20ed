//! The proxy between callers and a node that remembers what it hears.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body_util::Full;
use tokio::time::timeout;
use tonic::Code;

use super::*;
use crate::unruly::{carry::Answer, faults::Loss};

/// Longer than anything takes, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// So long that only being let go ends it.
const LONG: Duration = Duration::from_secs(600);
const SURE: u32 = 1_000;

/// Numbers its answers in the order of arrival, and refuses on the path `/refuse`.
#[derive(Clone, Debug, Default)]
struct Node {
    heard: Arc<Mutex<Vec<Call>>>,
}

impl Node {
    async fn start(&self) -> String {
        let listener = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let addr = listener.local_addr().unwrap();
        let node = self.clone();
        let service = service_fn(move |request| {
            let node = node.clone();
            async move { Ok::<_, Infallible>(node.answer(request).await) }
        });
        tokio::spawn(Server::builder().serve_with_incoming(service, listener));
        format!("http://{addr}")
    }

    async fn answer(&self, request: http::Request<Body>) -> http::Response<Body> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mut heard = self.heard.lock().unwrap();
        let number = u64::try_from(heard.len()).unwrap() + 1;
        let refused = head.uri.path() == "/refuse";
        heard.push(Call { number, path: head.uri, headers: head.headers, body });
        if refused {
            return Status::failed_precondition("sold out").into_http();
        }
        let trailers = HeaderMap::from_iter([
            ("grpc-status".parse().unwrap(), HeaderValue::from_static("0")),
            ("number".parse().unwrap(), HeaderValue::from(number)),
        ]);
        let body = Full::new(Bytes::from(number.to_string()));
        let body = body.with_trailers(async move { Some(Ok::<_, Infallible>(trailers)) });
        let mut answer = http::Response::new(Body::new(body));
        answer.headers_mut().insert("token", HeaderValue::from_static("17"));
        answer
    }

    fn heard(&self) -> Vec<Call> {
        self.heard.lock().unwrap().clone()
    }
}

async fn stage(faults: Faults) -> (Node, Unruly, Channel) {
    let node = Node::default();
    let proxy = Unruly::start(&[node.start().await], faults, 7).await.unwrap();
    let caller = Endpoint::from_shared(proxy.endpoint()).unwrap().connect().await.unwrap();
    (node, proxy, caller)
}

fn call(path: &'static str, body: &'static str) -> Call {
    let headers =
        HeaderMap::from_iter([("key".parse().unwrap(), HeaderValue::from_static("value"))]);
    let path = http::Uri::from_static(path);
    Call { number: 0, path, headers, body: Bytes::from_static(body.as_bytes()) }
}

async fn ask(caller: &Channel, call: &Call) -> Answer {
    let answer = timeout(PATIENCE, carry::ask(caller.clone(), call)).await;
    answer.expect("an answer in time").expect("an answer")
}

async fn settled(proxy: &Unruly) {
    timeout(PATIENCE, proxy.settled()).await.expect("everything ends");
}

fn code(answer: &Answer) -> Code {
    let told = Status::from_header_map(answer.headers());
    let told = told.or_else(|| Status::from_header_map(answer.body().trailers()?));
    told.expect("a status").code()
}

fn body(answer: Answer) -> Bytes {
    answer.into_body().to_bytes()
}

#[tokio::test]
async fn without_faults_everything_passes_as_it_is() {
    let (node, proxy, caller) = stage(Faults::default()).await;
    let answer = ask(&caller, &call("/Service/Method", "message")).await;
    assert_eq!((code(&answer), answer.headers()["token"].as_bytes()), (Code::Ok, &b"17"[..]));
    assert_eq!(answer.body().trailers().unwrap()["number"], "1");
    assert_eq!(body(answer), "1");
    let refused = ask(&caller, &call("/refuse", "")).await;
    assert_eq!(code(&refused), Code::FailedPrecondition);
    let heard = node.heard();
    assert_eq!(
        (heard[0].path.path(), heard[0].body.as_ref()),
        ("/Service/Method", &b"message"[..])
    );
    assert_eq!(heard[0].headers["key"], "value");
    settled(&proxy).await;
    assert_eq!(proxy.counts(), Counts { calls: 2, ..Counts::default() });
}

#[tokio::test]
async fn copies_are_the_same_bytes_and_their_caller_hears_one() {
    let faults = Faults { copy_per_mille: SURE, copies_max: 3, ..Faults::default() };
    let (node, proxy, caller) = stage(faults).await;
    for _ in 0..20 {
        let answer = ask(&caller, &call("/", "once")).await;
        assert_eq!(code(&answer), Code::Ok);
    }
    settled(&proxy).await;
    let heard = node.heard();
    assert_eq!(heard.len(), 60);
    assert!(heard.iter().all(|copy| copy.body == "once" && copy.headers["key"] == "value"));
    assert_eq!(proxy.counts(), Counts { calls: 20, copies: 40, ..proxy.counts() });
}

#[tokio::test]
async fn a_late_copy_comes_after_the_answer() {
    let faults = Faults {
        copy_per_mille: SURE,
        copies_max: 2,
        late_per_mille: SURE,
        late_max: Duration::from_millis(5),
        ..Faults::default()
    };
    let (node, proxy, caller) = stage(faults).await;
    let answer = ask(&caller, &call("/", "")).await;
    assert_eq!(body(answer), "1");
    settled(&proxy).await;
    assert_eq!(node.heard().len(), 2);
    assert_eq!(proxy.counts().late, 1);
}

#[tokio::test]
async fn a_lost_answer_leaves_its_effect() {
    let (node, proxy, caller) = stage(Faults { lose_per_mille: SURE, ..Faults::default() }).await;
    for number in 1..=20 {
        let answer = ask(&caller, &call("/", "")).await;
        assert!(matches!(code(&answer), Code::Unavailable | Code::Unknown));
        assert_eq!(node.heard().len(), number, "the node has decided before");
    }
    settled(&proxy).await;
    assert_eq!(proxy.counts(), Counts { calls: 20, lost: 20, ..Counts::default() });
}

#[tokio::test]
async fn an_abandoned_call_arrives_all_the_same() {
    let faults = Faults {
        abandon_per_mille: SURE,
        hold_per_mille: SURE,
        held_max: 2,
        hold_max: LONG,
        ..Faults::default()
    };
    let (node, proxy, caller) = stage(faults).await;
    let answer = ask(&caller, &call("/", "")).await;
    assert_ne!(code(&answer), Code::Ok);
    assert!(node.heard().is_empty(), "it is still held");
    ask(&caller, &call("/", "")).await;
    settled(&proxy).await;
    assert_eq!(node.heard().len(), 2);
    assert_eq!((proxy.counts().abandoned, proxy.counts().held), (2, 2));
}

#[tokio::test]
async fn held_calls_are_let_go_together_in_another_order() {
    let faults = Faults { hold_per_mille: SURE, held_max: 4, hold_max: LONG, ..Faults::default() };
    let (node, proxy, caller) = stage(faults).await;
    let call = call("/", "");
    for _ in 0..25 {
        let calls = (0..4).map(|_| ask(&caller, &call));
        futures::future::join_all(calls).await;
    }
    assert_eq!((node.heard().len(), proxy.counts().held), (100, 100));
    assert!(proxy.counts().overtaken > 0, "{:?}", proxy.counts());
}

#[tokio::test]
async fn alone_a_call_is_held_only_so_long() {
    let hold_max = Duration::from_millis(5);
    let (node, _proxy, caller) =
        stage(Faults { hold_per_mille: SURE, held_max: 4, hold_max, ..Faults::default() }).await;
    ask(&caller, &call("/", "")).await;
    assert_eq!(node.heard().len(), 1);
}

#[tokio::test]
async fn there_must_be_a_node_that_answers() {
    let proxy = Unruly::start(&["http://127.0.0.1:1".to_owned()], Faults::default(), 7).await;
    assert!(proxy.unwrap_err().to_string().contains("does not answer"));
    assert!(Unruly::start(&[], Faults::default(), 7).await.is_err());
}

#[test]
fn a_seed_repeats_its_choices_within_the_limits() {
    let plans = |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let draw = |_| Plan::draw(&Faults::rough(), 2, &mut random);
        (0..1_000).map(draw).collect::<Vec<_>>()
    };
    assert_eq!(plans(1), plans(1));
    assert_ne!(plans(1), plans(2));
    let faults = Faults::rough();
    for plan in plans(3) {
        assert!((1..=faults.copies_max as usize).contains(&plan.copies.len()));
        assert!(!plan.copies[0].late);
        let longest = faults.delay_max.max(faults.late_max);
        assert!(plan.copies.iter().all(|copy| copy.delay <= longest && copy.server < 2));
    }
    for loss in [Loss::Kept, Loss::Lost, Loss::Abandoned] {
        assert!(plans(3).iter().any(|plan| plan.loss == loss), "{loss:?}");
    }
}
