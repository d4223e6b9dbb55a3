//! append
use graven_model::{Receipt, Result};
/// An append on its way; resolves when it is durable or refused.
#[derive(Debug)]
pub struct PendingAppend(pub(crate) tokio::sync::oneshot::Receiver<Result<Receipt>>);
impl PendingAppend {
    /// Blocks until the append is durable or refused.
    ///
    /// # Errors
    /// As documented at [`crate::Store::submit`].
    pub fn wait(self) -> Result<Receipt> {
        todo!()
    }
}
impl Future for PendingAppend {
    type Output = Result<Receipt>;
    fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        todo!()
    }
}
