//! Tests of the whole crate in one binary: walls between rooms, and the real application in process, asked over its own socket.

mod config;
mod config_examples;
mod evidence;
mod feed_kit;
mod filed;
mod hostile;
mod http;
mod http_access;
mod http_alerts;
mod http_approval;
mod http_areas;
mod http_authority;
mod http_backup;
mod http_early;
mod http_edge;
mod http_flood;
mod http_hang_up;
mod http_kit;
mod http_masks;
mod http_matrix;
mod http_metrics;
mod http_page;
mod http_parts;
mod http_proof;
mod http_queries;
mod http_references;
mod http_report;
mod http_standing;
mod http_tls;
mod inlet_feed;
mod inlet_folder;
mod inlet_refused;
mod inlet_wis2;
mod kit;
mod lifecycle;
mod months;
mod owed;
mod pacing;
mod relay;
mod relay_kit;
mod rig;
mod speakers;
mod walls;

/// Installs the one TLS provider of this process; all tests may share a process.
fn tls_provider() {
    static PROVIDER: std::sync::Once = std::sync::Once::new();
    PROVIDER.call_once(|| rustls::crypto::ring::default_provider().install_default().expect("nobody else installs one"));
}

/// A secret as a county keeps it: for its owner alone.
fn write_private(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("our own file");
}
