//! The `pilotlight` binary.

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be built");
    runtime
        .block_on(pilotlight::server::serve(pilotlight::server::Config::default(), async {
            if let Err(e) = tokio::signal::ctrl_c().await {
                tracing::error!(error = %e, "cannot wait for signals");
            }
        }))
        .expect("serves");
}
