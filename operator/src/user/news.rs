use flotilla_crds::{ConditionType, User};

use super::{Difference, Sent, secret_name};
use crate::Standing;
use crate::condition::cut;
use crate::topic::News;

/// What is worth an event once the fleet took a command for a User and changed something. `settled` says whether the fleet had been as this
/// very specification asks before: then somebody else changed it. `sent` is what was sent before.
#[must_use]
pub fn applied(
    user: &User,
    difference: &Difference,
    settled: bool,
    password: &[u8],
    sent: Option<&Sent>,
) -> Option<News> {
    let name = secret_name(user);
    let news = |reason: &str, message: String| {
        Some(News {
            warning: false,
            reason: reason.to_owned(),
            message,
        })
    };
    if difference.missing && settled {
        return put_back(name, "it was gone".to_owned());
    }
    if difference.missing {
        return news("Created", format!("user `{name}` was made"));
    }
    match &difference.owner {
        Some(None) => {
            let credential = match difference.password {
                true => format!(", and its password is the one in the Secret `{name}`"),
                false => String::new(),
            };
            return news(
                "Adopted",
                format!("user `{name}` existed already and belongs to this User now{credential}"),
            );
        }
        Some(Some(owner)) => {
            return news(
                "Adopted",
                format!(
                    "user `{name}` was taken over from the User in namespace `{}`",
                    owner.namespace
                ),
            );
        }
        None => {}
    }
    let rotated = difference.password && sent.is_none_or(|sent| sent.password != password);
    if rotated && difference.others.is_empty() {
        return news("PasswordRotated", format!("user `{name}` has a new password"));
    }
    if !settled {
        return None;
    }
    let mut changes = difference.others.clone();
    if difference.password && !rotated {
        changes.push("another password was set".to_owned());
    }
    (!changes.is_empty())
        .then(|| put_back(name, changes.join("; ")))
        .flatten()
}

fn put_back(name: &str, what: String) -> Option<News> {
    Some(News {
        warning: true,
        reason: "PutBack".to_owned(),
        message: format!(
            "user `{name}` was changed by somebody else and is as its resource says again: {what}. Change the User instead"
        ),
    })
}

/// What is worth an event when a User comes to stand so. What its status says already is not said again.
#[must_use]
pub fn turn(user: &User, standing: &Standing) -> Option<News> {
    let Standing::Stuck(reason, message) = standing else {
        return None;
    };
    let conditions = user.status.as_ref().map(|status| status.conditions.as_slice());
    let ready = conditions
        .unwrap_or_default()
        .iter()
        .find(|condition| condition.type_ == ConditionType::Ready.to_string());
    let said = ready.is_some_and(|ready| ready.reason == reason.to_string() && ready.message == cut(message));
    (!said).then(|| News {
        warning: true,
        reason: reason.to_string(),
        message: message.clone(),
    })
}

#[cfg(test)]
mod tests {
    use flotilla_crds::Reason;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::super::{status, testing};
    use super::*;

    fn told(difference: &Difference, settled: bool, sent: Option<&[u8]>) -> Option<String> {
        let user = testing::user(json!({"type": "scram-sha-512"}));
        let sent = sent.map(|password| Sent {
            password: password.to_vec(),
            credential: b"c".to_vec(),
        });
        applied(&user, difference, settled, b"new", sent.as_ref())
            .map(|news| format!("{}: {}", news.reason, news.message))
    }

    #[test]
    fn what_became_of_a_user_is_told_in_one_word() {
        let none = Difference::default();
        let missing = Difference {
            missing: true,
            ..none.clone()
        };
        let nobodys = Difference {
            owner: Some(None),
            password: true,
            ..none.clone()
        };
        let anothers = Difference {
            owner: Some(Some(testing::owner("web", "checkout", "2"))),
            ..none.clone()
        };
        let password = Difference {
            password: true,
            ..none.clone()
        };
        let others = Difference {
            others: vec!["producer_byte_rate is 6".into()],
            ..none
        };
        let again = "is as its resource says again";
        let put_back = |what: &str| {
            format!(
                "PutBack: user `checkout` was changed by somebody else and {again}: {what}. Change the User instead"
            )
        };
        let (old, new): (Option<&[u8]>, Option<&[u8]>) = (Some(b"old"), Some(b"new"));
        let cases = [
            (&missing, false, None, Some("Created: user `checkout` was made".to_owned())),
            (&missing, true, new, Some(put_back("it was gone"))),
            (
                &nobodys,
                false,
                None,
                Some(
                    "Adopted: user `checkout` existed already and belongs to this User now, and its password is the one in the Secret \
                     `checkout`"
                        .to_owned(),
                ),
            ),
            (
                &anothers,
                false,
                None,
                Some("Adopted: user `checkout` was taken over from the User in namespace `web`".to_owned()),
            ),
            (
                &password,
                true,
                old,
                Some("PasswordRotated: user `checkout` has a new password".to_owned()),
            ),
            (&password, true, new, Some(put_back("another password was set"))),
            (&others, true, new, Some(put_back("producer_byte_rate is 6"))),
            (&others, false, new, None),
        ];
        for (difference, settled, sent, expected) in cases {
            assert_eq!(
                told(difference, settled, sent),
                expected,
                "{difference:?} {settled}"
            );
        }
    }

    #[test]
    fn a_problem_is_told_once_and_again_when_it_is_another() {
        let stuck = |message: &str| Standing::Stuck(Reason::NotAllowed, message.to_owned());
        let mut user = testing::user(json!({"type": "mtls"}));
        assert!(turn(&user, &stuck("six")).is_some());
        let now: Time = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        user.status = Some(status(&user, &now, false, &stuck("six")));
        assert_eq!(turn(&user, &stuck("six")), None);
        assert!(turn(&user, &stuck("seven")).is_some());
        assert_eq!(turn(&user, &Standing::Ready(String::new())), None);
    }
}
