//! Scenario 20.

use weft_tests::namespace::isolated;

use super::common::{Fabric, USER, client, policy};

#[test]
fn test_privileged_policies() {
    isolated(|| {
        let fabric = Fabric::two();
        let [cl0, cl1] = fabric.pair();
        cl0.apply(&policy(USER, "allow", "allow"));
        for (namespace, action) in [(USER, "allow"), (USER, "deny"), ("", "allow"), ("", "deny")] {
            cl1.apply(&policy(namespace, action, action));
        }
        let client = client(cl1);
        let privileged = |name| {
            cl1.kubectl(&["delete", "privilegedaccesspolicy", name]);
        };
        cl1.wait_for_cut(&client, "imported", 80);
        privileged("deny");
        cl1.wait_for_answer(&client, "imported", 80, "cl0");
        privileged("allow");
        cl1.wait_for_cut(&client, "imported", 80);
        cl1.delete("accesspolicy", USER, "deny");
        cl1.wait_for_answer(&client, "imported", 80, "cl0");
        cl1.delete("accesspolicy", USER, "allow");
        cl1.wait_for_cut(&client, "imported", 80);
    });
}
