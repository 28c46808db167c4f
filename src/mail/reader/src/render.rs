//! Markdown as the HTML of a mail: text, lists, tables and links; nothing that is loaded, runs or was HTML before.

use std::collections::HashSet;

/// `CommonMark` with tables; a line break stays one.
pub fn html(markdown: &str) -> String {
    let mut options = comrak::Options::default();
    options.extension.table = true;
    options.extension.strikethrough = true;
    options.extension.autolink = true;
    options.extension.tasklist = true;
    options.render.hardbreaks = true;
    let page = comrak::markdown_to_html(markdown, &options);
    ammonia::Builder::default()
        .rm_tags(["img"])
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .link_rel(Some("noopener noreferrer"))
        .clean(&page)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::html;

    #[test]
    fn what_people_write_is_shown() {
        let page =
            html("# A\n\n**b** and\nc\n\n| x | y |\n|---|---|\n| 1 | 2 |\n\n- [x] done\n\n<https://example.org>");
        for part in ["<h1>A</h1>", "<strong>b</strong>", "<br>", "<td>2</td>", "<li>", "href=\"https://example.org\""] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }

    #[test]
    fn nothing_is_loaded_and_nothing_runs() {
        for text in [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "![x](https://evil.example/pixel.png)",
            "[x](javascript:alert(1))",
            "[x](data:text/html,<script>1</script>)",
            "<iframe src='https://evil.example'></iframe>",
            "<style>*{display:none}</style>",
            "<a href=\"x\" onclick=\"y\">z</a>",
            "[x](https://a.example \"\\\" onclick=\\\"y\")",
        ] {
            let page = html(text).to_lowercase();
            for bad in ["<script", "<img", "<iframe", "<style", "javascript:", "data:text", " onclick=\"y", "onerror=a"]
            {
                assert!(!page.contains(bad), "{text}: {page}");
            }
        }
    }
}
