//! The clients that peers tell of.

use std::collections::BTreeSet;
use std::sync::Arc;

use fabric::attributes::Client;
use parking_lot::Mutex;

/// So many are known at a time: more workloads than use one gateway at once, and 16 MiB where every
/// one of them is as large as a frame allows.
const MOST: usize = 1024;

/// The clients that peers tell of, each held once however many connections it has.
///
/// The labels of a client are most of what an idle connection would hold otherwise.
#[derive(Debug, Default)]
pub(crate) struct Told {
    clients: Mutex<BTreeSet<Arc<Client>>>,
}

// === impl Told ===

impl Told {
    /// The same client, held together with whoever else has it.
    pub(crate) fn share(&self, client: Arc<Client>) -> Arc<Client> {
        let mut clients = self.clients.lock();
        if let Some(known) = clients.get(&client) {
            return Arc::clone(known);
        }
        if clients.len() >= MOST {
            clients.retain(|known| Arc::strong_count(known) > 1);
        }
        if clients.len() < MOST {
            clients.insert(Arc::clone(&client));
        }
        client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: usize) -> Arc<Client> {
        Arc::new(Client {
            namespace: "shop".to_owned(),
            service_account: format!("till-{number}"),
            ..Client::default()
        })
    }

    #[test]
    fn equal_clients_are_held_once() {
        let told = Told::default();
        let [one, other] = [told.share(client(1)), told.share(client(2))];
        assert!(Arc::ptr_eq(&told.share(client(1)), &one));
        assert!(Arc::ptr_eq(&told.share(client(2)), &other));
        assert!(!Arc::ptr_eq(&one, &other));
    }

    #[test]
    fn those_of_no_connection_make_room_and_what_finds_none_is_not_held() {
        let told = Told::default();
        let used = told.share(client(0));
        for number in 1..3 * MOST {
            told.share(client(number));
        }
        assert!(told.clients.lock().len() <= MOST);
        assert!(Arc::ptr_eq(&told.share(client(0)), &used));
        let all: Vec<_> = (0..2 * MOST)
            .map(|number| told.share(client(number)))
            .collect();
        assert_eq!(told.clients.lock().len(), MOST);
        assert_eq!(*all[2 * MOST - 1], *client(2 * MOST - 1));
    }
}
