//! A request with one malformed field, and how to send it.

use futures::future::BoxFuture;
use tonic::Status;
use tonic_types::StatusExt as _;

use super::world::World;

/// A request of one RPC.
pub(super) struct Case {
    /// Name of the RPC.
    pub(super) rpc: &'static str,
    /// The path that must be named; empty for a well-formed request.
    pub(super) field: &'static str,
    /// Sends it.
    pub(super) call: fn(World) -> BoxFuture<'static, Result<(), Status>>,
}

impl Case {
    pub(super) async fn send(&self, world: &World) -> Result<(), Status> {
        (self.call)(world.clone()).await
    }
}

/// The table.
#[derive(Default)]
pub(super) struct Cases {
    /// One well-formed request per RPC.
    pub(super) valid: Vec<Case>,
    /// The same, each with one field spoiled.
    pub(super) spoiled: Vec<Case>,
}

/// The paths that a refusal names.
pub(super) fn fields_of(status: &Status) -> Vec<String> {
    let request = status.get_details_bad_request();
    let violations = request.map(|request| request.field_violations).unwrap_or_default();
    violations.into_iter().map(|violation| violation.field).collect()
}

/// Adds the rows of one RPC: its well-formed request, how it is sent, and what spoils it. With
/// `also`, adds more rows to an RPC that has its well-formed request already.
macro_rules! rejects {
    (
        $cases:ident, $rpc:literal, $valid:path, |$world:ident, $sent:ident| $send:expr,
        { $($rows:tt)* }
    ) => {
        $cases.valid.push($crate::rejecting::case::Case {
            rpc: $rpc,
            field: "",
            call: |$world| ::std::boxed::Box::pin(async move {
                let $sent = $valid(&$world);
                $send.await.map(drop)
            }),
        });
        rejects! { also $cases, $rpc, $valid, |$world, $sent| $send, { $($rows)* } }
    };
    (
        also $cases:ident, $rpc:literal, $valid:path, |$world:ident, $sent:ident| $send:expr,
        { $($field:literal: |$request:ident| $spoil:expr;)* }
    ) => {
        $(
            $cases.spoiled.push($crate::rejecting::case::Case {
                rpc: $rpc,
                field: $field,
                call: |$world| ::std::boxed::Box::pin(async move {
                    let mut $request = $valid(&$world);
                    $spoil;
                    let $sent = $request;
                    $send.await.map(drop)
                }),
            });
        )*
    };
}
pub(super) use rejects;
