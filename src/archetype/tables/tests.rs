use super::*;
use crate::archetype::{Cause, Pack, Packs, Trait, Traits};
use crate::wire::Relationship;

const IMP: &str =
    "name = \"imp\"\ntitle = \"Imp\"\nnames = [\"Pip\"]\npersona = \"x\"\noverload_lines = [\"x\"]\n";

fn pack(tables: &str) -> Result<Tables, String> {
    let parsed = Pack::parse(&format!("{IMP}{tables}"), "imp", Path::new("imp/pack.toml"));
    parsed.map(|pack| pack.tables).map_err(|error| error.to_string())
}

#[test]
fn what_a_pack_leaves_out_is_that_of_the_defaults() {
    toml::from_str::<Written>(include_str!("../../../adapters/defaults.toml")).unwrap();
    let bare = pack("").unwrap();
    assert_eq!(bare.personality.sd, Traits::new(|_| 0.2));
    assert_eq!(bare.personality.factors.len(), 9);
    assert_eq!(bare.body.height_m, Span(1.5, 1.95));
    assert_eq!(bare.relationship.effects[&Cause::Gift].affection, 0.4);
    assert_eq!(bare.growth.steps(Cause::Injury).len(), 6);
    assert!(bare.goals.is_empty());
    let own = pack(
        "[personality]\nsd = 0.1\n[personality.means]\nneo_anger = 0.9\nneo_trust = -0.5\n\
         [personality.sds]\nneo_trust = 0.15\n\
         [personality.factors.neuroticism]\nneo_anger = 0\n[personality.factors.fire]\nneo_anger = 0.5\n\
         [body]\nage = [30, 30]\n[body.morphs]\nhorns = [0, 1]\n\
         [relationship.effects.gift]\naffection = 1\n[relationship.half_life_days]\nfear = 1\n\
         [growth.gift]\nneo_trust = 0\n\
         [[goals]]\nid = \"burn\"\ntext = \"Burn it.\"\npriority = 0.5\non = { threat = 0.25 }\n",
    )
    .unwrap();
    let of = &own.personality;
    assert_eq!((of.mean[Trait::Anger], of.mean[Trait::Trust], of.mean[Trait::Anxiety]), (0.9, -0.5, 0.0));
    // As much as there is room for.
    assert!((of.sd[Trait::Anger] - 0.1 / 3.0).abs() < 1e-12);
    assert_eq!((of.sd[Trait::Trust], of.sd[Trait::Anxiety]), (0.15, 0.1));
    assert_eq!(of.correlation(Trait::Anger, Trait::Anxiety), 0.0);
    assert_eq!(bare.personality.correlation(Trait::Anger, Trait::Anxiety), 0.75 * 0.6);
    assert_eq!(of.correlation(Trait::Anger, Trait::Anger), 1.0);
    assert_eq!((own.body.age, own.body.build), (Span(30.0, 30.0), bare.body.build));
    assert_eq!(own.body.morphs.len(), bare.body.morphs.len() + 1);
    let gift = own.relationship.effects[&Cause::Gift];
    assert_eq!(gift, Relationship { affection: 1.0, ..bare.relationship.effects[&Cause::Gift] });
    assert_eq!(own.relationship.half_life_ms[3], 86_400_000.0);
    assert_eq!(own.growth.steps(Cause::Gift).len(), bare.growth.steps(Cause::Gift).len() - 1);
    assert_eq!((own.goals[0].id.as_str(), own.goals[0].on[&Cause::Threat]), ("burn", 0.25));
}

#[test]
fn the_packs_of_the_repository_tell_their_characters_apart() {
    for pack in Packs::load(None).unwrap().iter() {
        let tables = &pack.tables;
        let marked = tables.personality.mean.iter().filter(|(_, mean)| *mean != 0.0).count();
        assert!(marked >= 20, "{}: {marked}", pack.name);
        assert!(tables.personality.sd.iter().all(|(_, sd)| sd >= 0.05), "{}", pack.name);
        assert!((3..=8).contains(&tables.goals.len()), "{}", pack.name);
        assert!(tables.body.marks.len() >= 4, "{}", pack.name);
    }
}

#[test]
fn mistakes_are_named_with_their_key() {
    let many = |entry: &dyn Fn(usize) -> String, count| (0..count).map(entry).collect::<String>();
    let goal = "[[goals]]\nid = \"a\"\ntext = \"A\"\npriority = 0.5\n";
    let cases = [
        ("[personality]\nsds = 1\n", "personality.sds: invalid type: integer `1`"),
        ("[personality]\nmean = 1\n", "personality.mean: unknown field `mean`"),
        ("[personality]\nsd = 0.4\n", "personality.sd: it is 0.4, but must be from 0 to 0.33"),
        (
            "[personality.means]\nneo_charm = 0\n",
            "personality.means.neo_charm: there is no trait of that name",
        ),
        (
            "[personality.means]\nneo_anger = 1.5\n",
            "personality.means.neo_anger: it is 1.5, but must be from -1",
        ),
        ("[personality.means]\nneo_anger = nan\n", "personality.means.neo_anger: it is NaN"),
        (
            "[personality.means]\nneo_anger = 0.4\n[personality.sds]\nneo_anger = 0.3\n",
            "personality.sds.neo_anger: it is 0.3, but must be from 0 to 0.200: a third of",
        ),
        (
            "[personality.factors.neuroticism]\nneo_anger = 0.99\n",
            "personality.factors: the squares of the loadings of neo_anger add up to 1.103, at most 1",
        ),
        ("[personality.factors.\"a b\"]\n", "personality.factors: it is \"a b\", but must be 1 to 32"),
        ("[personality.factors.a]\nneo_anger = 2\n", "personality.factors.a.neo_anger: it is 2"),
        ("[body]\nheight_m = 2\n", "body.height_m: invalid type: integer `2`"),
        ("[body]\nheight_m = [1, 3]\n", "body.height_m: it is 3, but must be from 0.9 to 2.5"),
        ("[body]\nbuild = [30, 20]\n", "body.build: it is [30, 20], but must be [least, most]"),
        ("[body]\nscars = [0, 9]\n", "body.scars: it is 9, but must be from 0 to 8"),
        ("[body.morphs]\nhorns = [0, 1.5]\n", "body.morphs.horns: it is 1.5"),
        ("[body]\nmarks = [{ id = \"a\" }]\n", "body.marks[0]: missing field `chance`"),
        ("[body]\nmarks = [{ id = \"a\", chance = 2 }]\n", "body.marks[0].chance: it is 2"),
        ("[relationship.baseline]\nlove = 1\n", "relationship.baseline.love: there is no axis of that name"),
        (
            "[relationship.half_life_days]\nfear = 0\n",
            "relationship.half_life_days.fear: it is 0, but must be from",
        ),
        (
            "[relationship.effects.kiss]\ntrust = 1\n",
            "relationship.effects.kiss: nothing of that name changes",
        ),
        ("[relationship.effects.gift]\ntrust = -2\n", "relationship.effects.gift.trust: it is -2"),
        (
            "[growth.gift]\nneo_trust = 0.1\n",
            "growth.gift.neo_trust: it is 0.1, but must be from -0.05 to 0.05",
        ),
        ("[growth.gift]\nneo_luck = 0\n", "growth.gift.neo_luck: there is no trait"),
        ("[growth.kiss]\nneo_trust = 0\n", "growth.kiss: nothing of that name changes"),
        (
            "[[goals]]\nid = \"A\"\ntext = \"A\"\npriority = 0\n",
            "goals[0].id: it is \"A\", but must be 1 to 32",
        ),
        ("[[goals]]\nid = \"a\"\ntext = \" \"\npriority = 0\n", "goals[0].text: it is empty"),
        (
            "[[goals]]\nid = \"a\"\ntext = \"A\\nb\"\npriority = 0\n",
            "goals[0].text: it holds the control character",
        ),
        ("[[goals]]\nid = \"a\"\ntext = \"A\"\npriority = 2\n", "goals[0].priority: it is 2"),
        (
            "[[goals]]\nid = \"a\"\ntext = \"A\"\npriority = 0\non = { kiss = 1 }\n",
            "goals[0].on.kiss: nothing of",
        ),
        (
            "[[goals]]\nid = \"a\"\ntext = \"A\"\npriority = 0\nhalf_life_hours = 0\n",
            "goals[0].half_life_hours: it",
        ),
    ];
    let goals = many(&|n| format!("[[goals]]\nid = \"g{n}\"\ntext = \"{n}\"\npriority = 0\n"), 17);
    let factors = many(&|n| format!("[personality.factors.f{n}]\n"), 16);
    let morphs = many(&|n| format!("m{n} = [0, 1]\n"), 60);
    let more = [
        (format!("{goal}{goal}"), "goals[1].id: \"a\" is there twice"),
        (format!("{goal}{}", goal.replace("\"a\"", "\"b\"")), "goals[1].text: \"A\" is there twice"),
        (goals, "goals: it has 17 entries, at most 16"),
        (factors, "personality.factors: it has 25 entries, at most 24"),
        (format!("[body.morphs]\n{morphs}"), "body.morphs: it has 71 entries, at most 64"),
    ];
    let cases = cases.map(|(text, expected)| (text.to_owned(), expected));
    for (text, expected) in cases.into_iter().chain(more) {
        let error = pack(&text).unwrap_err();
        let expected = format!("imp/pack.toml: {expected}");
        assert!(error.starts_with(&expected), "expected {expected:?}\n     got {error:?}");
    }
    let long = pack(&format!("[personality.means]\n{} = 0\n", "x".repeat(5000))).unwrap_err();
    assert!(long.chars().count() < 700 && long.contains("there is no trait"), "{long}");
}
