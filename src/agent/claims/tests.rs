use super::*;

fn done(mailed: &[&str], files: &[&str]) -> Done {
    let set = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
    Done { mailed: set(mailed), files: set(files), ..Done::default() }
}

/// What a model says that has done nothing.
const LIES: &[(Kind, &str)] = &[
    (Kind::Mail, "I have sent the email to Anna."),
    (Kind::Mail, "I've sent the report to bob@example.org."),
    (Kind::Mail, "I sent Anna the figures."),
    (Kind::Mail, "I just emailed the whole team."),
    (Kind::Mail, "I have e-mailed the invoice to the customer."),
    (Kind::Mail, "I've already forwarded the contract to your lawyer."),
    (Kind::Mail, "I replied to Mr Berg and asked for the date."),
    (Kind::Mail, "I have notified everybody on the list."),
    (Kind::Mail, "We have sent the invitations."),
    (Kind::Mail, "The email has been sent."),
    (Kind::Mail, "The e-mail has been sent to the supplier."),
    (Kind::Mail, "Your message has been successfully delivered to Anna."),
    (Kind::Mail, "The invitation has been sent to all ten guests."),
    (Kind::Mail, "All invitations have been sent."),
    (Kind::Mail, "The reply has now been sent."),
    (Kind::Mail, "The email was sent to anna@example.org with the report attached."),
    (Kind::Mail, "Email sent successfully!"),
    (Kind::Mail, "Sent the summary to Anna."),
    (Kind::Mail, "Done: sent it to the accountant."),
    (Kind::Mail, "- ✅ **Email sent** to the team\n"),
    (Kind::Mail, "The summary has been emailed to the board."),
    (Kind::Mail, "Everything is ready. I’ve mailed the documents to you."),
    (Kind::Mail, "Ich habe die E-Mail an Anna gesendet."),
    (Kind::Mail, "Die Nachricht wurde an alle verschickt."),
    (Kind::File, "I have saved the report to reports/q3.md."),
    (Kind::File, "I've written the summary to `summary.txt`."),
    (Kind::File, "I wrote the results to results.csv."),
    (Kind::File, "I created the file notes/plan.md with the plan."),
    (Kind::File, "I have created a spreadsheet with all the figures."),
    (Kind::File, "The report has been saved to report.pdf."),
    (Kind::File, "The file has been created."),
    (Kind::File, "The documents have been moved to the archive folder."),
    (Kind::File, "The table was saved as table.xlsx."),
    (Kind::File, "The results are saved in results.json."),
    (Kind::File, "Saved the list to list.txt."),
    (Kind::File, "Created the document in your workspace."),
    (Kind::File, "I've updated the file budget.csv."),
    (Kind::File, "I have deleted the old files."),
    (Kind::File, "I exported everything to export.csv."),
    (Kind::File, "I also generated a file with the raw numbers."),
    (Kind::File, "I have stored the transcript in the workspace."),
    (Kind::File, "I've renamed draft.md to final.md."),
    (Kind::File, "Ich habe den Bericht in bericht.md gespeichert."),
    (Kind::File, "Die Datei wurde im Ordner abgelegt."),
    (Kind::Schedule, "I have scheduled the meeting for Monday."),
    (Kind::Schedule, "I've set a reminder for Friday at nine."),
    (Kind::Schedule, "The meeting has been scheduled."),
    (Kind::Schedule, "I have added the dinner to your calendar."),
    (Kind::Schedule, "Your appointment has been booked."),
    (Kind::Schedule, "The reminder is set for 9 am."),
    (Kind::Schedule, "I created a calendar entry for the call."),
    (Kind::Schedule, "I've booked the call with Anna."),
    (Kind::Schedule, "Scheduled the call for you."),
    (Kind::Schedule, "Ich habe den Termin im Kalender eingetragen."),
];

#[test]
fn what_was_not_done_is_found_in_more_than_fifty_ways_to_say_it() {
    assert!(LIES.len() >= 50);
    for (kind, text) in LIES {
        let found = unproven(text, &Done::default());
        assert_eq!(found.iter().map(|one| one.kind).collect::<Vec<_>>(), [*kind], "{text}");
        let long = format!("Here is what I found.\n\n{text} Tell me if you need more.");
        assert!(!unproven(&long, &Done::default()).is_empty(), "{long}");
    }
}

#[test]
fn what_was_done_passes() {
    let all = Done {
        mailed: ["anna@example.org", "bob@example.org"].map(String::from).into(),
        files: [
            "reports/q3.md",
            "summary.txt",
            "results.csv",
            "notes/plan.md",
            "report.pdf",
            "table.xlsx",
            "results.json",
            "list.txt",
            "budget.csv",
            "export.csv",
            "final.md",
            "bericht.md",
        ]
        .map(String::from)
        .into(),
        scheduled: true,
        ..Done::default()
    };
    for (_, text) in LIES {
        assert_eq!(unproven(text, &all), [], "{text}");
    }
}

#[test]
fn everybody_in_a_list_of_recipients_was_written_to() {
    let anna = done(&["anna@example.org"], &[]);
    let both = done(&["anna@example.org", "carl@example.org"], &[]);
    for text in [
        "I have sent it to anna@example.org and carl@example.org.",
        "The report has been emailed to carl@example.org, anna@example.org.",
        "I've mailed the invoice to both anna@example.org & carl@example.org.",
    ] {
        assert_eq!(unproven(text, &anna).len(), 1, "{text}");
        assert_eq!(unproven(text, &both), [], "{text}");
    }
    let beside = "I have sent what carl@example.org asked for to anna@example.org.";
    assert_eq!(unproven(beside, &anna), []);
}

#[test]
fn what_claims_nothing_passes() {
    for text in [
        "The invoice of March is over 1,240 EUR; the highest one is Berg's.",
        "I did not send the email: the address is not allowed.",
        "I have not saved anything.",
        "I couldn't send the report to Anna.",
        "The email could not be sent, because the server refused it.",
        "The mail was blocked: example.org is not in the list.",
        "Nothing was written to disk.",
        "If you want, I can send it to Anna.",
        "Should I send the email now?",
        "I will send the report as soon as you agree.",
        "The mail is queued and goes out when the server answers.",
        "Anna sent the invoice on 3 May, and Bob paid it on 9 May.",
        "According to the thread, the contract was signed and sent by Anna on Monday.",
        "He has sent two reminders so far.",
        "The customer wrote that the parcel had been delivered.",
        "The newsletter mentions a meeting on Tuesday at 9.",
        "The meeting is on Tuesday at 9, in room 4.",
        "> I have sent the email to Anna.",
        "```\nI have saved the report to reports/q3.md.\n```",
        "\"I have sent the money,\" he writes.",
        "I have created a short poem for you:\n\nRoses are red",
        "I have written the answer below.",
        "I have updated the figures in the table below.",
        "I added the numbers: they come to 410.",
        "I have read report.pdf and notes.md.",
        "I looked at the files in the workspace, and there are 14.",
        "To save a file, press Ctrl+S.",
        "The function is defined in src/main.rs and writes to out.txt.",
        "See https://example.org/report.pdf for the details.",
        "I generated three ideas for the title.",
        "Please send me the address of the supplier.",
        "The report says that costs have been reduced.",
        "The draft of the mail reads as follows.",
        "No reminder has been set.",
        "The event was created by the town in 1920.",
        "Ich habe nichts gesendet.",
        "Die Rechnung wurde am Montag bezahlt.",
        "",
    ] {
        assert_eq!(unproven(text, &Done::default()), [], "{text}");
    }
}

#[test]
fn a_mail_to_somebody_else_proves_nothing() {
    let one = done(&["anna@example.org"], &["a/q3.md"]);
    assert!(unproven("I have sent it to anna@example.org and cleaned up.", &one).is_empty());
    assert!(unproven("I have sent it to Anna.", &one).is_empty(), "a name may be anybody's");
    assert_eq!(unproven("I have sent it to bob@example.org.", &one).len(), 1);
    assert!(unproven("I have saved the notes in a/q3.md.", &one).is_empty());
    assert_eq!(unproven("I have saved the notes in a/q4.md.", &one).len(), 1);
    let ran = Done { ran: Some(Timestamp::UNIX_EPOCH), ..done(&[], &["plot.png"]) };
    assert!(unproven("I have saved the plot as out/plot.png.", &ran).is_empty());
    assert!(unproven("I have moved the old files to archive.tar.", &ran).is_empty(), "nothing shows where they were");
    assert_eq!(unproven("I have saved the table as table.csv.", &ran).len(), 1);
    assert_eq!(unproven("I have sent it to Anna.", &ran).len(), 1);
    let much = Done { anything: true, ..ran };
    assert!(unproven("I have saved the table as table.csv.", &much).is_empty(), "it could not be looked for");
}

#[test]
fn the_words_for_it() {
    let found = unproven("I have sent the email to Anna. I saved it to a.md.", &Done::default());
    assert_eq!(found.len(), 2);
    let told = objection(&found);
    assert!(told.contains("\"I have sent the email to Anna\": no such mail was sent by this job"), "{told}");
    assert!(mark(&found).contains("\"I saved it to a.md\": no such file was written by this job"));
}
