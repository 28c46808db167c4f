//! What there is of each secret, since when, and what lacks one; never a value.

use assistant_api::secrets::{SecretName, SecretState};
use jiff::Timestamp;

use super::store::{self, Dated};
use crate::{config::Secrets, cx::Cx, error::Result, http::login, llm::ModelInfo, mail};

/// Each secret with where it came from, or what cannot be done for lack of it.
pub(super) fn states(cx: &Cx, models: &[ModelInfo]) -> Vec<SecretState> {
    let mut states = Vec::clone(&cx.process.secrets.load());
    let lacking = mail::lacking(cx);
    for state in &mut states {
        let models =
            models.iter().filter(|model| model.missing.is_some_and(|secret| secret.credential() == state.name));
        let mut needs: Vec<String> =
            models.map(|model| format!("the {} model at {}", model.role, model.host)).collect();
        let of_mail = lacking.iter().filter(|(secret, _)| secret.credential() == state.name);
        needs.extend(of_mail.map(|(_, need)| need.clone()));
        if !needs.is_empty() {
            let unreadable = state.problem.take().map_or_else(String::new, |problem| format!("{problem}; "));
            let verb = if needs.len() == 1 { "needs" } else { "need" };
            state.problem = Some(format!("{unreadable}{} {verb} it", needs.join(" and ")));
        }
    }
    states
}

/// Finds out since when the daemon has had each value, and remembers the new ones, not by their values.
pub async fn date_secrets(cx: Cx, secrets: Secrets) {
    let before = cx.process.secrets.load_full();
    match dates(&cx, &secrets).await {
        Ok(dates) => {
            let mut states = Vec::clone(&before);
            for state in &mut states {
                state.since = dates.iter().find(|(name, _)| name.credential() == state.name).map(|(_, at)| *at);
            }
            // Of secrets that were replaced meanwhile, somebody else finds it out.
            cx.process.secrets.compare_and_swap(&before, states.into());
        }
        Err(err) => tracing::warn!(error = err.chain(), "the ages of the secrets are not known"),
    }
}

async fn dates(cx: &Cx, secrets: &Secrets) -> Result<Vec<(SecretName, Timestamp)>> {
    let known = cx.store.read(store::secrets).await?;
    let mut dates = Vec::new();
    for name in SecretName::ALL {
        let (key, known) = (name.credential(), known.get(name.credential()));
        let Some(value) = secrets.get(*name) else {
            if known.is_some() {
                cx.store.write(move |tx| store::forget_secret(tx, key)).await?;
            }
            continue;
        };
        let seal = login::seal(cx, value, known.map(|known| known.seal.clone())).await?;
        let since = match known {
            Some(known) if known.seal == seal => known.since,
            _ => {
                let now = cx.clock.now();
                let row = Dated { seal, since: now };
                cx.store.write(move |tx| store::set_secret(tx, now, key, &row)).await?;
                now
            }
        };
        dates.push((*name, since));
    }
    Ok(dates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, config::Config, daemon};

    fn set(pairs: &[(SecretName, &str)]) -> Secrets {
        pairs.iter().copied().collect()
    }

    async fn since(cx: &Cx, secrets: &Secrets) -> Vec<Option<String>> {
        cx.process.secrets.store(secrets.states().into());
        date_secrets(cx.clone(), secrets.clone()).await;
        let states = states(cx, &[]);
        [SecretName::OpenAi, SecretName::Imap]
            .map(|name| states.iter().find(|state| state.name == name.credential()).unwrap().since)
            .map(|at| at.map(|at| at.to_string()))
            .into()
    }

    #[tokio::test]
    async fn the_age_of_a_secret_is_that_of_its_value() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::fixed("2026-11-23T12:00:00Z".parse().unwrap());
        let cx = daemon::idle(dir.path(), Config::default(), clock.clone());
        let (one, other) = (Some("2026-11-23T12:00:00Z".to_owned()), Some("2026-11-23T13:00:00Z".to_owned()));
        let both = set(&[(SecretName::OpenAi, "sk-canary-one"), (SecretName::Imap, "canary-two")]);
        assert_eq!(since(&cx, &both).await, [one.clone(), one.clone()]);
        clock.advance(std::time::Duration::from_hours(1));
        let replaced = set(&[(SecretName::OpenAi, "sk-canary-one"), (SecretName::Imap, "canary-three")]);
        assert_eq!(since(&cx, &replaced).await, [one.clone(), other.clone()]);
        assert_eq!(since(&cx, &set(&[(SecretName::OpenAi, "sk-canary-one")])).await, [one.clone(), None]);
        assert_eq!(since(&cx, &replaced).await, [one, other], "one that was away is new");
        let kept = cx.store.read(store::secrets).await.unwrap();
        assert_eq!(kept.len(), 2);
        assert!(!format!("{kept:?}").contains("canary"), "{kept:?}");
    }

    #[tokio::test]
    async fn what_mail_lacks_is_told_with_what_needs_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        (config.email.imap_host, config.email.imap_username) = (Some("imap.example".into()), Some("ada".into()));
        (config.email.smtp_host, config.email.smtp_from) = (Some("smtp.example".into()), Some("ada@x.example".into()));
        config.email.smtp_username = Some("ada".into());
        let cx = daemon::idle(dir.path(), config.clone(), Clock::default());
        let problem = |cx: &Cx, name: SecretName| {
            states(cx, &[]).into_iter().find(|state| state.name == name.credential()).unwrap().problem
        };
        let (receiving, sending) = ("receiving mail from imap.example", "sending mail through smtp.example");
        assert_eq!(problem(&cx, SecretName::Imap), Some(format!("{receiving} needs it")));
        assert_eq!(problem(&cx, SecretName::Smtp), Some(format!("{sending} needs it")));
        assert_eq!(problem(&cx, SecretName::OpenAi), None);
        let model = ModelInfo {
            role: "main".into(),
            host: "h".into(),
            missing: Some(SecretName::Smtp),
            ..ModelInfo::default()
        };
        let found =
            states(&cx, &[model]).into_iter().find_map(|state| state.problem.filter(|text| text.contains("main")));
        assert_eq!(found, Some(format!("the main model at h and {sending} need it")));
        config.email.oauth_token_url = Some("https://login.example/token".into());
        let other = tempfile::tempdir().unwrap();
        let token = daemon::idle(other.path(), config, Clock::default());
        assert_eq!(problem(&token, SecretName::MailOauthRefresh), Some(format!("{receiving} and {sending} need it")));
        assert_eq!(problem(&token, SecretName::Imap), None);
        cx.process
            .mail
            .passwords
            .store(std::sync::Arc::new((&set(&[(SecretName::Imap, "one"), (SecretName::Smtp, "two")])).into()));
        assert_eq!((problem(&cx, SecretName::Imap), problem(&cx, SecretName::Smtp)), (None, None));
    }
}
