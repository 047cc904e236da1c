//! The pictures in `docs/faces/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::draw::Drawing;
use super::*;

/// The variable that draws them anew.
const UPDATE: &str = "UPDATE_GOLDEN";

fn pictures() -> BTreeMap<String, String> {
    let tables = tables();
    let mut pictures = BTreeMap::new();
    let mut draw = |name: &str, style: &Style, label: EmotionLabel| {
        let w = Expression::new(&tables, style, label, 1.0).bytes();
        pictures.insert(format!("{name}.svg"), Drawing::svg(&tables, &w, name));
    };
    let plain = plain(&tables);
    draw("neutral", &plain, EmotionLabel::Neutral);
    for label in EMOTIONS {
        draw(label.name(), &plain, label);
    }
    let packs = Packs::load(None).unwrap();
    for (name, label) in [("lich", EmotionLabel::Joy), ("werewolf", EmotionLabel::Anger)] {
        let look = Look::new(&tables, &packs.get(name).unwrap().face).unwrap();
        let name = format!("{name}-{}", label.name());
        draw(&name, &Style::new(&Arc::new(look), 1.0, 0.0, 1), label);
    }
    // In the middle of a word.
    let mut talking = Performance::new(&tables, plain.clone(), 3);
    talking.feel(EmotionLabel::Joy, 0.8, 0);
    let mut keys = talking.pause(0);
    keys.extend(talking.speak("Oh, how nice to see you!", 0, 500, 2000));
    let mouth = shape(&tables, "mouthFunnel");
    let key = keys.iter().max_by_key(|key| key.w[mouth]).unwrap();
    pictures.insert("talking.svg".to_owned(), Drawing::svg(&tables, &key.w, "talking"));
    pictures
}

#[test]
fn the_pictures_are_what_the_shapes_give() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faces");
    let pictures = pictures();
    let there: BTreeSet<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    if std::env::var_os(UPDATE).is_some() {
        for (name, svg) in &pictures {
            fs::write(folder.join(name), svg).unwrap();
        }
        return;
    }
    let how = "if the change is meant, run `UPDATE_GOLDEN=1 cargo test --workspace --lib face::tests`";
    assert_eq!(there, pictures.keys().cloned().collect(), "{how}");
    for (name, svg) in &pictures {
        assert!(
            fs::read_to_string(folder.join(name)).unwrap() == *svg,
            "{name} is another picture now; {how}"
        );
    }
    let different: BTreeSet<&String> = pictures.values().collect();
    assert_eq!(different.len(), pictures.len());
}
