//! A second participant: an order service that keeps its orders in memory, and whose mood a test sets.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use anyhow::Context as _;
use futures::future::BoxFuture;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::Service,
    server::{Grpc, NamedService, UnaryService},
    transport::Server,
};
use tonic_prost::ProstCodec;

use super::tcc::Participant;

const SERVICE: &str = "coupon.test.v1.OrderService";

/// What all three methods are sent.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OrderRequest {
    /// Which order.
    #[prost(string, tag = "1")]
    pub order_id: String,
}

/// A method of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Reserves the order's goods.
    Try,
    /// Sells them.
    Confirm,
    /// Lets go of them.
    Cancel,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderState {
    /// After Try.
    Reserved,
    /// After Confirm.
    Sold,
    /// After Cancel, with or without a Try before.
    Cancelled,
}

/// How the service takes its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It does what it is told.
    Well,
    /// It refuses every Try for good (ABORTED) and does what it is told otherwise.
    Refusing,
    /// It answers UNAVAILABLE and does nothing.
    Failing,
    /// It answers when it is in another mood.
    Hanging,
}

/// The running service; ends when dropped.
#[derive(Debug)]
pub struct Orders {
    address: SocketAddr,
    shop: Arc<Shop>,
    server: JoinHandle<()>,
}

impl Orders {
    /// Starts it on a free port, in the mood [`Mood::Well`].
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("the order service cannot listen")?;
        let address = listener.local_addr()?;
        let (mood, book) = (watch::Sender::new(Mood::Well), Mutex::default());
        let shop = Arc::new(Shop { mood, book });
        let service = OrderService(Arc::clone(&shop));
        let serving = Server::builder().add_service(service);
        let serving = serving.serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move {
            if let Err(error) = serving.await {
                eprintln!("the order service has ended: {error}");
            }
        });
        Ok(Self { address, shop, server })
    }

    /// Where its methods are.
    pub fn participant(&self) -> Participant {
        Participant::new(&self.address.to_string(), SERVICE, "Try")
    }

    /// Puts it into another mood; calls that hang go on in that one.
    pub fn set_mood(&self, mood: Mood) {
        self.shop.mood.send_replace(mood);
    }

    /// Where an order stands; `None` when it has never been heard of.
    pub fn state(&self, order_id: &str) -> Option<OrderState> {
        self.shop.book().states.get(order_id).copied()
    }

    /// How many calls of a method have come in, answered or not.
    pub fn calls(&self, verb: Verb) -> usize {
        self.shop.book().calls.iter().filter(|called| **called == verb).count()
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(Debug)]
struct Shop {
    mood: watch::Sender<Mood>,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    states: HashMap<String, OrderState>,
    calls: Vec<Verb>,
}

impl Shop {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(&self, verb: Verb, request: OrderRequest) -> Result<(), Status> {
        self.book().calls.push(verb);
        let mut mood = self.mood.subscribe();
        let mood = mood.wait_for(|mood| *mood != Mood::Hanging).await;
        let mood = *mood.map_err(|_| Status::unavailable("the shop is closed"))?;
        match (mood, verb) {
            (Mood::Failing, _) => Err(Status::unavailable("the shop is closed")),
            (Mood::Refusing, Verb::Try) => Err(Status::aborted("sold out")),
            _ => self.book().apply(verb, request.order_id),
        }
    }
}

impl Book {
    /// Repeats are harmless, and a Try that comes after its Cancel is refused.
    fn apply(&mut self, verb: Verb, order_id: String) -> Result<(), Status> {
        use OrderState::{Cancelled, Reserved, Sold};

        let next = match (verb, self.states.get(&order_id)) {
            (Verb::Try, None | Some(Reserved)) => Reserved,
            (Verb::Confirm, Some(Reserved | Sold)) => Sold,
            (Verb::Cancel, None | Some(Reserved | Cancelled)) => Cancelled,
            (_, found) => {
                return Err(Status::aborted(format!("{verb:?} of an order that is {found:?}")));
            }
        };
        self.states.insert(order_id, next);
        Ok(())
    }
}

#[derive(Clone)]
struct OrderService(Arc<Shop>);

impl NamedService for OrderService {
    const NAME: &'static str = SERVICE;
}

struct Method(Arc<Shop>, Verb);

impl UnaryService<OrderRequest> for Method {
    type Response = ();
    type Future = BoxFuture<'static, Result<Response<()>, Status>>;

    fn call(&mut self, request: Request<OrderRequest>) -> Self::Future {
        let (shop, verb) = (Arc::clone(&self.0), self.1);
        Box::pin(async move { shop.call(verb, request.into_inner()).await.map(Response::new) })
    }
}

impl Service<http::Request<Body>> for OrderService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default();
        let verb = match method {
            "Try" => Verb::Try,
            "Confirm" => Verb::Confirm,
            "Cancel" => Verb::Cancel,
            _ => {
                let unknown = Status::unimplemented("an order is tried, confirmed or cancelled");
                return Box::pin(async move { Ok(unknown.into_http()) });
            }
        };
        let method = Method(Arc::clone(&self.0), verb);
        Box::pin(async move {
            let codec = ProstCodec::<(), OrderRequest>::default();
            Ok(Grpc::new(codec).unary(method, request).await)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_ends_once_and_a_late_try_is_refused() {
        let mut book = Book::default();
        let mut apply = |verb, order: &str| book.apply(verb, order.to_owned()).is_ok();
        assert!(apply(Verb::Try, "sold") && apply(Verb::Confirm, "sold"));
        assert!(apply(Verb::Confirm, "sold") && !apply(Verb::Cancel, "sold"));
        assert!(apply(Verb::Cancel, "empty") && apply(Verb::Cancel, "empty"));
        assert!(!apply(Verb::Try, "empty") && !apply(Verb::Confirm, "empty"));
        assert!(!apply(Verb::Confirm, "unheard of"));
    }
}
