use super::*;

#[tokio::test]
async fn without_anything_the_answer_says_what_to_do() {
    let llm = build(&Config::default(), &Secrets::default());
    let request = Request::new("s", vec![super::super::Message::User { text: "x".into() }]);
    let error = llm.ask(&request, None).await.unwrap_err();
    assert_eq!(error, LlmError::NotConfigured(NOT_CONFIGURED.into()));
    assert!(!error.is_temporary());
}

#[test]
fn a_rehearsal_never_steps_in_by_itself() {
    let mut config = Config::default();
    config.llm.rehearsal_file = Some("scenes.json".into());
    assert!(build(&config, &Secrets::default()).models().iter().all(|model| model.provider != "rehearsal"));
    config.llm.rehearsal_file = None;
    config.llm.provider = Some("rehearsal".into());
    assert_eq!(build(&config, &Secrets::default()).models()[0].provider, "rehearsal");
}

#[tokio::test]
async fn a_rehearsal_file_that_is_no_good_is_named() {
    let mut config = Config::default();
    config.llm.provider = Some("rehearsal".into());
    config.llm.rehearsal_file = Some("/nonexistent/scenes.json".into());
    let request = Request::new("s", vec![super::super::Message::User { text: "x".into() }]);
    let error = build(&config, &Secrets::default()).ask(&request, None).await.unwrap_err();
    assert!(error.to_string().contains("llm.rehearsal_file /nonexistent/scenes.json"), "{error}");
}
