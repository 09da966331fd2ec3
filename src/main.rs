//! The `pilotlight` binary.

use pilotlight::server::{Config, ServeError, Server};

fn main() -> Result<(), ServeError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be built");
    runtime.block_on(async {
        let server = Server::bind(Config::default()).await?;
        server
            .run(async {
                if let Err(e) = tokio::signal::ctrl_c().await {
                    tracing::error!(error = %e, "cannot wait for signals");
                }
            })
            .await;
        Ok(())
    })
}
