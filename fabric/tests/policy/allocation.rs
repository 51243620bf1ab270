//! A decision allocates nothing, counted by the allocator itself.
#![expect(unsafe_code, reason = "an allocator is unsafe by its nature")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use serde_json::json;

use super::world::{World, key, labels, one, origin};
use fabric::policy::Policies;

/// The system's allocator, which counts what each thread asks it for.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count_one() {
    // While a thread ends, its counter may be gone.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_one();
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_one();
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_one();
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn allocations(body: impl FnOnce()) -> u64 {
    let before = COUNT.get();
    body();
    COUNT.get() - before
}

#[test]
fn deciding_allocates_nothing() {
    // The counter does count.
    assert!(allocations(|| drop(std::hint::black_box(Box::new(1)))) > 0);

    let mut policies = Policies::default();
    for index in 0..200 {
        let from = json!({ "matchExpressions": [
            { "key": "client.clusterlink.net/labels.app", "operator": "In",
              "values": [format!("a{index}"), format!("b{index}")] },
            { "key": "client.clusterlink.net/namespace", "operator": "NotIn", "values": ["x"] },
            { "key": "peer.clusterlink.net/labels.region", "operator": "Exists" },
        ] });
        let to = match index % 2 {
            0 => json!({ "matchLabels": { "export.clusterlink.net/name": format!("svc{index}") } }),
            _ => json!({}),
        };
        let action = if index % 3 == 0 { "deny" } else { "allow" };
        let name = match index % 4 {
            0 => format!("p{index}"),
            _ => format!("bank/p{index}"),
        };
        policies.add(key(&name), origin(), &one(action, from, to));
    }
    let mut known = World::new().with_client_labels(&[("app", "b101")]);
    known.client_peer.labels = labels(&[("region", "eu")]);
    let other = World::new();
    let unknown = known.clone().without_client();
    let mut verdicts = [0; 2];
    let count = allocations(|| {
        for world in [&known, &other, &unknown] {
            let decision = std::hint::black_box(policies.decide(&world.request()));
            verdicts[usize::from(decision.is_allowed())] += 1;
        }
    });
    assert_eq!(count, 0);
    assert_eq!(verdicts, [2, 1], "both verdicts are reached");
}
