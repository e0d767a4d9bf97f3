//! Short documents in one segment without deaths are ranked as tantivy ranks them: it knows lengths up to 40 exactly.

use proptest::prelude::*;
use tantivy::collector::TopDocs;
use tantivy::query::{BooleanQuery, QueryClone, TermQuery};
use tantivy::schema::{IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{SingleSegmentIndexWriter, TantivyDocument, Term};

use super::*;

/// (document, score), best first.
fn tantivy_ranking(texts: &[Terms], query: &[(Box<str>, u32)], k: usize) -> Vec<(u32, f32)> {
    let mut schema = Schema::builder();
    let indexing = TextFieldIndexing::default().set_index_option(IndexRecordOption::WithFreqs);
    let field = schema.add_text_field("text", TextOptions::default().set_indexing_options(indexing));
    let builder = tantivy::Index::builder().schema(schema.build());
    let mut writer: SingleSegmentIndexWriter =
        builder.single_segment_index_writer(tantivy::directory::RamDirectory::create(), 15_000_000).unwrap();
    for terms in texts {
        let repeated = terms.counts.iter().flat_map(|(term, count)| vec![term.to_string(); *count as usize]);
        let tokens = repeated.map(|text| Token { text, position: 0, ..Token::default() }).collect();
        let mut document = TantivyDocument::new();
        document.add_pre_tokenized_text(field, PreTokenizedString { text: String::new(), tokens });
        writer.add_document(document).unwrap();
    }
    let searcher = writer.finalize().unwrap().reader().unwrap().searcher();
    let term = |(term, _): &(Box<str>, u32)| {
        TermQuery::new(Term::from_field_text(field, term), IndexRecordOption::WithFreqs).box_clone()
    };
    let query = BooleanQuery::union(query.iter().map(term).collect());
    let hits = searcher.search(&query, &TopDocs::with_limit(k).order_by_score()).unwrap();
    hits.into_iter().map(|(score, address)| (address.doc_id, score)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.div_ceil(8)))]

    #[test]
    fn short_documents_are_ranked_as_tantivy_ranks_them(
        texts in prop::collection::vec(prop::collection::vec(0u8..30, 1..=40), 1..400),
        query in prop::collection::vec(0u8..31, 1..6),
    ) {
        let texts: Vec<Terms> = texts.iter().map(|text| oracle::words(text)).collect();
        let (mut index, mut stats) = (Index::default(), Stats::default());
        for (key, terms) in texts.iter().enumerate() {
            index.insert(key as u64, 0, terms, 1);
            stats.add(0, terms.length);
        }
        seal(&mut index);
        let terms = oracle::words(&query).counts;
        let query = Query { terms: &terms, filter: NOW, scoring: Scoring::default(), stats: &stats };
        let ours = index.search(&query, texts.len());
        let theirs = tantivy_ranking(&texts, &terms, texts.len());
        prop_assert_eq!(ours.len(), theirs.len());
        let score_of = |key: u64| ours.iter().find(|hit| hit.key == key).unwrap().score;
        for (hit, (document, score)) in ours.iter().zip(theirs) {
            let near = |exact: f64| (exact - f64::from(score)).abs() <= 1e-5 * exact;
            prop_assert!(near(score_of(u64::from(document))), "{document} scores {score}");
            prop_assert!(hit.key == u64::from(document) || near(hit.score), "{hit:?} is not {document}");
        }
    }
}
