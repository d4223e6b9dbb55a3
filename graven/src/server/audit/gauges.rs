//! What the metrics say of the audit trail.

use graven_engine::audit::{ScrubStatus, Sealed, StoredCheckpoint};
use graven_model::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers of the audit trail, set when somebody asks; findings are counted.
pub(in crate::server) struct AuditGauges {
    checkpoint_size: Gauge,
    checkpoint_age: Gauge<f64, AtomicU64>,
    sealed_size: Gauge,
    scrub_position: Gauge,
    findings: Counter,
    /// Findings of the background that are counted already.
    counted: AtomicU64,
}

impl AuditGauges {
    /// Registers them.
    pub(in crate::server) fn new(registry: &mut Registry) -> AuditGauges {
        let events = || Unit::Other("events".to_owned());
        let gauges = AuditGauges {
            checkpoint_size: Gauge::default(),
            checkpoint_age: Gauge::default(),
            sealed_size: Gauge::default(),
            scrub_position: Gauge::default(),
            findings: Counter::default(),
            counted: AtomicU64::new(0),
        };
        registry.register_with_unit(
            "audit_checkpoint_size",
            "Events the newest checkpoint covers",
            events(),
            gauges.checkpoint_size.clone(),
        );
        registry.register_with_unit(
            "audit_checkpoint_age",
            "Since the newest checkpoint was signed; -1 if there is none",
            Unit::Seconds,
            gauges.checkpoint_age.clone(),
        );
        registry.register_with_unit(
            "audit_sealed_size",
            "Events the newest seal covers",
            events(),
            gauges.sealed_size.clone(),
        );
        registry.register_with_unit(
            "audit_scrub_position",
            "Events the background verification has passed in this round",
            events(),
            gauges.scrub_position.clone(),
        );
        registry.register("audit_findings", "What verifications found", gauges.findings.clone());
        gauges
    }

    /// Takes note of how the trail stands.
    pub(in crate::server) fn stand(
        &self,
        latest: Option<&StoredCheckpoint>,
        sealed: Option<&Sealed>,
        scrub: &ScrubStatus,
        now: Timestamp,
    ) {
        let number = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
        self.checkpoint_size.set(number(latest.map_or(0, |latest| latest.size)));
        let age = latest.map(|latest| (now.micros() - latest.signed_at.micros()).max(0) as f64 / 1e6);
        self.checkpoint_age.set(age.unwrap_or(-1.0));
        self.sealed_size.set(number(sealed.map_or(0, |sealed| sealed.size)));
        self.scrub_position.set(number(scrub.cursor.0));
        let counted = self.counted.swap(scrub.findings, Ordering::Relaxed);
        self.findings.inc_by(scrub.findings.saturating_sub(counted));
    }

    /// Counts findings.
    pub(in crate::server) fn found(&self, findings: u64) {
        self.findings.inc_by(findings);
    }
}
