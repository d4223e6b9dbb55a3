//! The OpenAPI document: what the server says is what is checked in, and it describes every route.

mod support;

use support::{Server, command, contract};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

#[test]
fn the_document_is_the_one_checked_in() {
    let said = command().arg("openapi").output().expect("the binary runs");
    assert!(said.status.success());
    let said = String::from_utf8(said.stdout).unwrap();
    let kept = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(said == kept, "graven/openapi.json is out of date; write it anew with `cargo xtask openapi`");
    let server = Server::start();
    assert_eq!(server.client().get("/openapi.json").text(), kept);
}

#[test]
fn every_operation_of_the_document_is_answered() {
    let server = Server::start();
    let client = server.client();
    for (method, path, operation) in contract::operations() {
        let target = path
            .replace("{id}", "00000000-0000-4000-8000-000000000001")
            .replace("{revision}", "0")
            .replace("{position}", "0")
            .replace(['{', '}'], "");
        let answer = client.send(
            &method,
            &target,
            &[("Content-Type", "text/unknown")],
            (method != "GET").then_some(b"?"),
        );
        let nothing = answer.status == 404 && answer.text().contains("there is nothing at");
        assert!(!nothing && answer.status != 405, "{method} {path} is not served");
        assert!(operation["operationId"].is_string() && operation["summary"].is_string(), "{method} {path}");
        assert!(operation["responses"]["default"].is_object(), "{method} {path}");
    }
}
