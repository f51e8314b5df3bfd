//! What becomes of a user whose User is deleted. Its password and its rules end with it; nothing of it may keep a namespace from
//! going.

use flotilla_control::proto::metadata::Owner;
use flotilla_crds::{DeletionPolicy, User};

use crate::cluster::{Pending, PendingKind};
use crate::owner;
use crate::topic::News;

/// The fleet of a User that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// Its Cluster is gone, or is being deleted too.
    Gone,
    /// No broker answers, but one may in a moment.
    NotYet,
    /// No broker has answered for a while.
    No,
    /// It answers.
    Yes,
}

/// What is to be done so that the resource can go.
#[derive(Clone, Debug, PartialEq)]
pub enum Departure {
    /// It goes at once.
    Release,
    /// The fleet is told to delete the user, if it belongs to this owner.
    Delete(Owner),
    /// The deletion is noted beside the Cluster, then the resource goes.
    Note(Pending, News),
    /// Nothing yet.
    Wait,
}

/// What is to be done about a User that is deleted. The fleet itself knows whose a user is: what is seen of it from here may be late.
#[must_use]
pub fn depart(user: &User, reached: Reached) -> Departure {
    let name = user.metadata.name.as_deref().unwrap_or_default();
    let asks = owner(&user.metadata, DeletionPolicy::Delete);
    match reached {
        Reached::Gone => Departure::Release,
        Reached::NotYet => Departure::Wait,
        Reached::Yes => Departure::Delete(asks),
        Reached::No => Departure::Note(
            Pending::of(PendingKind::User, name, &asks),
            News {
                warning: true,
                reason: "DeletionRecorded".to_owned(),
                message: format!(
                    "no broker answers: that user `{name}` is to be deleted is noted beside its Cluster and done once they are back"
                ),
            },
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing;
    use super::*;

    #[test]
    fn user_goes_with_its_resource_and_silence_of_the_brokers_keeps_nothing() {
        let user = testing::user(json!({"type": "mtls"}));
        let asks = testing::owner("shop", "checkout", "uid-of-checkout");
        assert_eq!(depart(&user, Reached::Gone), Departure::Release);
        assert_eq!(depart(&user, Reached::NotYet), Departure::Wait);
        assert_eq!(depart(&user, Reached::Yes), Departure::Delete(asks.clone()));
        let Departure::Note(pending, news) = depart(&user, Reached::No) else {
            panic!("not noted");
        };
        assert_eq!(
            (pending.key(), pending.owner()),
            ("user.uid-of-checkout".to_owned(), asks)
        );
        assert_eq!((news.warning, news.reason.as_str()), (true, "DeletionRecorded"));
    }
}
