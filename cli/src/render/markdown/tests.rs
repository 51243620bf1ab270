use fabric::tree::{Limits, Tree};
use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser};

use super::*;
use crate::render::sample;

fn tree() -> Tree {
    Tree::builder(Revision::working_tree(), Limits::default()).finish()
}

fn written(texts: &[String], many: usize) -> String {
    let mut out = Vec::new();
    write_plan(&sample::report(texts, many), Some(&tree()), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// The HTML of a page, but for what is in summaries.
fn html(page: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_GFM | Options::ENABLE_MATH;
    let mut html = String::new();
    for event in Parser::new_ext(page, options) {
        match event {
            Event::Html(text) | Event::InlineHtml(text) => html.push_str(&text),
            Event::Start(tag) => {
                let tag = format!("{tag:?}");
                assert!(
                    !tag.starts_with("Link") && !tag.starts_with("Image"),
                    "{tag}"
                );
            }
            Event::InlineMath(text) | Event::DisplayMath(text) => panic!("{text}"),
            _ => {}
        }
    }
    html
}

#[test]
fn a_plan_with_everything() {
    let texts = ["cart", "peers/west/access.yaml", "till"].map(str::to_owned);
    insta::assert_snapshot!(written(&texts, 1));
}

#[test]
fn a_plan_of_thousands_is_folded_and_its_verdict_stays() {
    for (text, many) in [
        ("peers/west/a.yaml", 2_000),
        (&*"`".repeat(5_000), 200),
        // A diagnostic of five megabytes, and one of everything else.
        (&"é".repeat(5 << 19), 1),
    ] {
        let page = written(&[text.to_owned()], many);
        assert!(page.len() <= page::LIMIT, "{}", page.len());
        let verdict =
            "<!-- weft-plan:acme -->\n### Widens access, and wants an approval: `widens-access`\n";
        assert!(page.starts_with(verdict), "{page}");
        for section in [
            "Gates",
            "Errors",
            "Broken invariants",
            "Opens",
            "Closes",
            "Each peer",
        ] {
            assert!(
                page.contains(&format!("#### {section}\n")),
                "{section} in {page}"
            );
        }
        let folds = |tag: &str| page.lines().filter(|line| line.starts_with(tag)).count();
        assert_eq!(folds("<details>"), folds("</details>"), "{page}");
        assert!(page.contains("<details><summary>"), "{page}");
        let flow = if many == 1 { "1 service" } else { "services" };
        assert!(page.contains(&format!("{flow} **opens**")), "{page}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..sample::config() })]

    #[test]
    fn hostile_text_adds_nothing_to_a_plan(
        texts in proptest::collection::vec(sample::hostile_text(), 1..12),
    ) {
        let page = written(&texts, 3);
        prop_assert!(page.len() <= page::LIMIT);
        // What there is of HTML is the same whatever the texts say.
        prop_assert_eq!(html(&page), html(&written(&["text".to_owned()], 3)));
        let is_escaped = !page.chars().any(|c| c != '\n' && crate::render::escape::is_hidden(c));
        prop_assert!(is_escaped && !page.contains("##["), "{}", page);
    }
}
