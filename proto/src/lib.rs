//! The `coupon.v1` contract: messages, clients and service traits generated from the `.proto` files
//! beside this crate, whose comments are the API reference.

/// `coupon.v1`: templates, coupons and redemptions.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1 {
    tonic::include_proto!("coupon.v1");
}

/// `coupon.dev.v1`: the test clock.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod dev {
    tonic::include_proto!("coupon.dev.v1");
}

/// All files of the contract as an encoded `FileDescriptorSet`, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/coupon_descriptor.bin"));

/// `google.rpc.ErrorInfo.domain` of every error.
pub const ERROR_DOMAIN: &str = "coupon.v1";

impl v1::ErrorReason {
    /// The reason as carried in `google.rpc.ErrorInfo.reason`: the enum value's name without its
    /// prefix.
    pub fn as_reason(self) -> &'static str {
        let name = self.as_str_name();
        name.strip_prefix("ERROR_REASON_").unwrap_or(name)
    }

    /// Reads what [`Self::as_reason`] wrote; `None` for a reason this version does not know.
    pub fn from_reason(reason: &str) -> Option<Self> {
        Self::from_str_name(&format!("ERROR_REASON_{reason}"))
    }
}
