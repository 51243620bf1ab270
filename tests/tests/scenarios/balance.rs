//! How connections are spread over the sources.

use std::collections::BTreeSet;

use super::common::{Fabric, import};

const EXPORTERS: [&str; 3] = ["cl0", "cl1", "cl2"];

/// One fabric for all three: what differs is a line of the Import.
#[test]
fn scenarios_11_to_13_load_balancing() {
    let fabric = Fabric::started(&["cl0", "cl1", "cl2", "client"]);
    scenario_11_round_robin_takes_strict_turns(&fabric);
    scenario_12_static_keeps_to_the_first_that_serves(&fabric);
    scenario_13_random_sees_all(&fabric);
}

fn scenario_11_round_robin_takes_strict_turns(fabric: &Fabric) {
    // Theirs begins with the second; here it is the first.
    let expected: Vec<_> = EXPORTERS.iter().cycle().take(30).collect();
    assert_eq!(fabric.asks(30).iter().collect::<Vec<_>>(), expected);
    fabric.remove("cl0", "export");
    fabric.commit("Delete the export of cl0");
    let answers = fabric.asks(30);
    assert!(answers.iter().all(|answer| answer != "cl0"), "{answers:?}");
    let strict = answers.windows(2).all(|pair| pair[0] != pair[1]);
    assert!(strict, "{answers:?}");
    fabric.remove("cl1", "export");
    fabric.commit("Delete the export of cl1");
    assert_eq!(fabric.asks(30), ["cl2"; 30]);
    fabric
        .repository
        .git(&["revert", "--no-edit", "HEAD~2..HEAD"]);
}

fn scenario_12_static_keeps_to_the_first_that_serves(fabric: &Fabric) {
    fabric.write("client", "import", &import(&EXPORTERS, "static"));
    fabric.commit("Balance statically, with all exports again");
    for (number, name) in EXPORTERS.iter().enumerate() {
        assert_eq!(fabric.asks(30), [*name; 30]);
        if number < 2 {
            fabric.remove(name, "export");
            fabric.commit("Delete its export");
        }
    }
    fabric
        .repository
        .git(&["revert", "--no-edit", "HEAD~2..HEAD"]);
}

fn scenario_13_random_sees_all(fabric: &Fabric) {
    fabric.write("client", "import", &import(&EXPORTERS, "random"));
    fabric.commit("Balance at random, with all exports again");
    let seen = |count| fabric.asks(count).into_iter().collect::<BTreeSet<_>>();
    // That one of three isn't among a hundred: 1 in 10^17; one of two not among seventy: 1 in 10^21.
    assert_eq!(Vec::from_iter(seen(100)), EXPORTERS);
    fabric.remove("cl0", "export");
    fabric.commit("Delete the export of cl0");
    assert_eq!(Vec::from_iter(seen(70)), ["cl1", "cl2"]);
    fabric.remove("cl1", "export");
    fabric.commit("Delete the export of cl1");
    assert_eq!(fabric.asks(30), ["cl2"; 30]);
}
