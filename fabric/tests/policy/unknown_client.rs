//! What happens to a client that nobody knows.

use serde_json::json;

use super::world::{World, one, policies, told};

#[test]
fn unknown_clients() {
    let client = || json!({ "matchLabels": { "client.clusterlink.net/namespace": "shop" } });
    let not_client = || {
        json!({ "matchExpressions": [
            { "key": "client.clusterlink.net/labels.app", "operator": "DoesNotExist" },
        ] })
    };
    let from_elsewhere = || {
        json!({ "matchLabels": {
            "client.clusterlink.net/namespace": "shop", "peer.clusterlink.net/name": "north",
        } })
    };
    let all = || json!({});
    let allow_all = one("allow", all(), all());
    let allow_client = one("allow", client(), all());
    let deny_client = one("deny", client(), all());
    let deny_unlabelled = one("deny", not_client(), all());
    let deny_elsewhere = one("deny", from_elsewhere(), all());
    let deny_all = one("deny", all(), all());
    let world = World::new().without_client();
    for (specs, expected) in [
        (vec![("bank/c", &allow_client)], "deny, unknown to bank/c"),
        (
            vec![("bank/c", &allow_client), ("bank/z", &allow_all)],
            "allow by bank/z",
        ),
        // An earlier step goes first, also when it can only tell that it doesn't know.
        (
            vec![("c", &allow_client), ("bank/z", &allow_all)],
            "deny, unknown to /c",
        ),
        (
            vec![("a", &allow_all), ("bank/c", &deny_client)],
            "allow by /a",
        ),
        (
            vec![("bank/c", &deny_client), ("bank/z", &deny_all)],
            "deny by bank/z",
        ),
        (
            vec![("bank/c", &deny_unlabelled), ("bank/z", &allow_all)],
            "deny, unknown to bank/c",
        ),
        // A term that fails whoever the client is ends the question.
        (
            vec![("bank/c", &deny_elsewhere), ("bank/z", &allow_all)],
            "allow by bank/z",
        ),
        // The first by its key is named.
        (
            vec![("bank/c", &deny_client), ("bank/b", &deny_client)],
            "deny, unknown to bank/b",
        ),
    ] {
        let decided = told(policies(specs.clone()).decide(&world.request()));
        assert_eq!(decided, expected, "{specs:?}");
    }
}
