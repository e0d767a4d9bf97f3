use proptest::prelude::*;

use super::{Analyzer, LANGUAGES};

fn terms(language: &str, text: &str) -> Vec<String> {
    let analyzer = Analyzer::new(language).expect("a known language");
    analyzer.query_terms(text).into_iter().map(String::from).collect()
}

#[test]
fn terms_are_counted_in_order_of_first_appearance() {
    let analysed = Analyzer::new("en").unwrap().analyze("Dogs and a cat, dog!");
    assert_eq!(analysed.counts, [("dog".into(), 2), ("cat".into(), 1)]);
    assert_eq!(analysed.length, 3);
}

#[test]
fn a_question_is_reduced_to_what_it_asks_about() {
    assert_eq!(terms("en", "When did she go to the park?"), ["go", "park"]);
    assert_eq!(terms("en", "Who are you?"), [""; 0]);
}

#[test]
fn possessives_and_contractions_match_the_bare_word() {
    for text in ["Caroline", "caroline's", "CAROLINE’S"] {
        assert_eq!(terms("en", text), ["carolin"]);
    }
    assert_eq!(terms("en", "I'm sure they'll come"), ["sure", "come"]);
}

#[test]
fn words_end_where_a_reader_would_end_them() {
    assert_eq!(
        terms("none", "LGBTQ+ snake_case site.org fun.I e-mail"),
        ["lgbtq", "snake", "case", "site", "org", "fun", "i", "e", "mail"]
    );
}

#[test]
fn decimals_stay_whole_and_dates_are_found_by_their_parts() {
    assert_eq!(
        terms("none", "3.5 1,000.25 2023-05-08 9.6.2024"),
        ["3.5", "1000.25", "2023", "05", "08", "9", "6", "2024"]
    );
}

#[test]
fn a_word_is_found_however_its_letters_were_typed() {
    for text in ["résumé", "re\u{301}sume\u{301}", "ＲＥＳＵＭＥ"] {
        assert_eq!(terms("en", text), terms("en", "resume"));
    }
    assert_eq!(terms("de", "Häuser"), terms("de", "Haus"));
    assert_eq!(terms("ru", "книги"), terms("ru", "книга"));
}

#[test]
fn runs_without_spaces_become_pairs_and_a_lone_character_stays() {
    for (text, pairs) in [
        ("東京タワー", &["東京", "京タ", "タワ", "ワー"][..]),
        ("你好，世界", &["你好", "世界"]),
        ("한국어", &["한국", "국어"]),
        ("中 国", &["中", "国"]),
        ("iPhone手机x", &["iphone", "手机", "x"]),
        ("中", &["中"]),
        ("中2国", &["中", "2", "国"]),
    ] {
        assert_eq!(terms("none", text), pairs);
    }
}

#[test]
fn marks_of_scripts_that_spell_with_them_do_not_break_words() {
    assert_eq!(terms("none", "हिन्दी भाषा"), ["हिन्दी", "भाषा"]);
}

#[test]
fn words_are_cut_at_64_characters() {
    assert_eq!(terms("none", &"é".repeat(100)), ["e".repeat(64)]);
}

#[test]
fn text_without_words_has_no_terms() {
    for text in ["", " \n", "😀 — …", "+-*/"] {
        assert_eq!(Analyzer::new("en").unwrap().analyze(text).length, 0);
    }
}

#[test]
fn only_listed_languages_have_an_analyzer() {
    for (language, _) in LANGUAGES {
        assert!(Analyzer::new(language).is_some());
    }
    for language in ["", "EN", "zh", "english"] {
        assert!(Analyzer::new(language).is_none());
    }
}

const SCRIPTS: [&str; 7] =
    ["\\PC", "\\p{Latin}", "\\p{Greek}", "\\p{Cyrillic}", "\\p{Arabic}", "\\p{Tamil}", "[\\p{Han}a ]"];

fn letters() -> impl Strategy<Value = String> {
    let words = |script| prop::string::string_regex(&format!("({script}{{1,12}} ?){{0,6}}")).unwrap();
    prop::sample::select(&SCRIPTS[..]).prop_flat_map(words)
}

proptest! {
    #[test]
    fn any_text_has_distinct_terms_that_add_up(text in letters(), language in 0..LANGUAGES.len()) {
        let analyzed = Analyzer::new(LANGUAGES[language].0).unwrap().analyze(&text);
        let distinct: std::collections::HashSet<_> = analyzed.counts.iter().map(|(term, _)| term).collect();
        prop_assert_eq!(distinct.len(), analyzed.counts.len());
        prop_assert_eq!(analyzed.counts.iter().map(|(_, count)| count).sum::<u32>(), analyzed.length);
        prop_assert!(analyzed.counts.iter().all(|(term, count)| !term.is_empty() && *count > 0));
    }
}
