//! The services every gRPC server has: health and reflection.

use crate::server::App;
use axum::body::Body;
use axum::http::{Request, Response};
use graven_proto::{DESCRIPTOR, SERVICE, kurrentdb};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tonic::codegen::Service;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// How often the store is asked whether it is well, for those who watch.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;
type Answers = Box<dyn Fn(Request<Body>) -> Answering + Send + Sync>;

/// Health and reflection.
pub(super) struct Side {
    reporter: HealthReporter,
    services: [(&'static str, Answers); 3],
}

impl Side {
    /// # Errors
    /// If a descriptor does not decode.
    pub(super) fn new(app: &Arc<App>) -> anyhow::Result<Side> {
        let (reporter, health) = tonic_health::server::health_reporter();
        tokio::spawn(watch_health(Arc::downgrade(app), reporter.clone()));
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTOR)
                .register_encoded_file_descriptor_set(kurrentdb::DESCRIPTOR)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        Ok(Side {
            reporter,
            services: [
                ("/grpc.health.v1.Health/", answers(health)),
                ("/grpc.reflection.v1.ServerReflection/", answers(reflection().build_v1()?)),
                ("/grpc.reflection.v1alpha.ServerReflection/", answers(reflection().build_v1alpha()?)),
            ],
        })
    }

    /// The service a path belongs to.
    pub(super) fn service(&self, path: &str) -> Option<&Answers> {
        self.services.iter().find(|(prefix, _)| path.starts_with(prefix)).map(|(_, service)| service)
    }

    /// Says that no appends are taken any more.
    pub(super) async fn stopping(&self) {
        report(&self.reporter, ServingStatus::NotServing).await;
    }
}

fn answers<S>(service: S) -> Answers
where
    S: Service<Request<Body>, Response = Response<tonic::body::Body>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    Box::new(move |request| {
        let answering = service.clone().call(request);
        Box::pin(async move {
            let Ok(response) = answering.await;
            response.map(Body::new)
        })
    })
}

/// Reports what `/readyz` says, until the server is gone or stops.
async fn watch_health(app: std::sync::Weak<App>, reporter: HealthReporter) {
    while let Some(app) = app.upgrade() {
        if *app.stopping.borrow() {
            return;
        }
        let status = match app.store.health() {
            None => ServingStatus::Serving,
            Some(_) => ServingStatus::NotServing,
        };
        report(&reporter, status).await;
        drop(app);
        sleep(HEALTH_INTERVAL).await;
    }
}

async fn report(reporter: &HealthReporter, status: ServingStatus) {
    for service in ["", SERVICE] {
        reporter.set_service_status(service, status).await;
    }
}
