//! A simple face, drawn from nothing but the weights of the 52 shapes. The character looks at the viewer, so its left
//! side is on the right of the picture.

use std::fmt::Write;

use super::*;

/// Where the face's middle is, in units of the picture, which is 240 wide and 300 high.
const MIDDLE: f32 = 120.0;
const EYE_Y: f32 = 132.0;
const MOUTH_Y: f32 = 218.0;

pub struct Drawing<'a> {
    tables: &'a Tables,
    w: &'a [u8; FACE_SHAPES],
    svg: String,
}

/// A point as SVG has it.
fn p(x: f32, y: f32) -> String {
    let plain = |v: f32| if v.abs() < 0.05 { 0.0 } else { v };
    format!("{:.1},{:.1}", plain(x), plain(y))
}

/// The control point of a curve that passes through `middle` halfway between two ends.
fn bend(middle: f32, end: f32, other: f32) -> f32 {
    2.0 * middle - f32::midpoint(end, other)
}

impl<'a> Drawing<'a> {
    /// The picture as SVG; `title` is for who cannot see it.
    pub fn svg(tables: &'a Tables, w: &'a [u8; FACE_SHAPES], title: &str) -> String {
        let mut drawing = Self { tables, w, svg: String::new() };
        drawing.add(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 240 300" width="240" height="300">"#,
        );
        drawing.add(&format!("<title>{title}</title>"));
        drawing.head();
        for (side, sign) in [("Left", 1.0), ("Right", -1.0)] {
            drawing.eye(side, sign);
            drawing.brow(side, sign);
            drawing.cheek(side, sign);
            drawing.nose(side, sign);
        }
        drawing.mouth();
        drawing.add("</svg>");
        drawing.svg
    }

    fn add(&mut self, element: &str) {
        writeln!(self.svg, "{element}").unwrap();
    }

    fn path(&mut self, points: &str, style: &str) {
        self.add(&format!(r#"<path d="{points}" {style}/>"#));
    }

    /// A shape's weight, 0 to 1.
    fn of(&self, shape_name: &str) -> f32 {
        f32::from(self.w[shape(self.tables, shape_name)]) / 255.0
    }

    fn side(&self, stem: &str, side: &str) -> f32 {
        self.of(&format!("{stem}{side}"))
    }

    fn head(&mut self) {
        let chin = 278.0 + 14.0 * self.of("jawOpen");
        let shift = 8.0 * (self.of("jawLeft") - self.of("jawRight"));
        let points = format!(
            "M {} C {} {} {} C {} {} {} C {} {} {} Z",
            p(34.0, 120.0),
            p(34.0, 26.0),
            p(206.0, 26.0),
            p(206.0, 120.0),
            p(206.0, 205.0),
            p(168.0 + shift, chin),
            p(MIDDLE + shift, chin),
            p(72.0 + shift, chin),
            p(34.0, 205.0),
            p(34.0, 120.0),
        );
        self.path(&points, r##"fill="#f2d3b8" stroke="#5a4030" stroke-width="3""##);
    }

    fn eye(&mut self, side: &str, sign: f32) {
        let x = MIDDLE + sign * 45.0;
        let blink = self.side("eyeBlink", side);
        let squint = self.side("eyeSquint", side);
        let toward = |open: f32, shut: f32| open + (shut - open) * blink;
        let upper = toward(11.0 + 7.0 * self.side("eyeWide", side) - 4.0 * squint, -5.0);
        let lower = toward(9.0 - 6.0 * squint + 2.0 * self.side("eyeWide", side), 5.0);
        let lid = |height: f32| p(x, EYE_Y + 2.0 * height);
        let (from, to) = (p(x - 23.0, EYE_Y), p(x + 23.0, EYE_Y));
        let outline = format!("M {from} Q {} {to} Q {} {from} Z", lid(-upper), lid(lower));
        self.add(&format!(r#"<clipPath id="eye{side}"><path d="{outline}"/></clipPath>"#));
        self.path(&outline, r##"fill="#fff""##);
        // Out is away from the nose.
        let out = self.side("eyeLookOut", side) - self.side("eyeLookIn", side);
        let up = self.side("eyeLookUp", side) - self.side("eyeLookDown", side);
        let (iris_x, iris_y) = (x + sign * 14.0 * out, EYE_Y - 9.0 * up);
        let [cx, cy] = [iris_x, iris_y].map(|v| format!("{v:.1}"));
        self.add(&format!(
            r##"<g clip-path="url(#eye{side})"><circle cx="{cx}" cy="{cy}" r="9.5" fill="#4b6b4f"/><circle cx="{cx}" cy="{cy}" r="4.5" fill="#111"/></g>"##
        ));
        let line = r##"fill="none" stroke="#2b1d15" stroke-linecap="round""##;
        self.path(&format!("M {from} Q {} {to}", lid(-upper)), &format!(r#"{line} stroke-width="4""#));
        self.path(&format!("M {from} Q {} {to}", lid(lower)), &format!(r#"{line} stroke-width="2""#));
    }

    fn brow(&mut self, side: &str, sign: f32) {
        let (inner, down, outer) =
            (self.of("browInnerUp"), self.side("browDown", side), self.side("browOuterUp", side));
        let at = |x: f32, y: f32| p(MIDDLE + sign * x, y);
        // Raised and lowered at once, the inner ends rise and come together.
        let low = down * (1.0 - 0.85 * inner);
        let points = format!(
            "M {} Q {} {}",
            at(20.0 - 6.0 * down, 104.0 - 16.0 * inner + 13.0 * low),
            at(46.0, 88.0 - 6.0 * inner * (1.0 - down) + 2.0 * inner * down - 14.0 * outer + 12.0 * low),
            at(72.0, 104.0 - 14.0 * outer + 4.0 * down),
        );
        self.path(&points, r##"fill="none" stroke="#3a261a" stroke-width="7" stroke-linecap="round""##);
        if inner > 0.0 && down > 0.0 {
            let frown = inner.min(down);
            let points = format!("M {} L {}", at(7.0, 100.0), at(5.0, 86.0));
            let style = format!(r##"stroke="#a9805f" stroke-width="2" stroke-opacity="{frown:.2}""##);
            self.path(&points, &style);
        }
    }

    fn cheek(&mut self, side: &str, sign: f32) {
        let squint = self.side("cheekSquint", side);
        let puff = self.of("cheekPuff");
        if squint + puff == 0.0 {
            return;
        }
        let at = |x: f32, y: f32| p(MIDDLE + sign * x, y);
        let points = format!(
            "M {} Q {} {}",
            at(30.0, 168.0 - 6.0 * squint),
            at(52.0, 182.0 - 18.0 * squint + 10.0 * puff),
            at(78.0, 162.0 - 6.0 * squint),
        );
        let opacity = squint.max(puff);
        let style =
            format!(r##"fill="none" stroke="#c08a68" stroke-width="3" stroke-opacity="{opacity:.2}""##);
        self.path(&points, &style);
    }

    fn nose(&mut self, side: &str, sign: f32) {
        let sneer = self.side("noseSneer", side);
        let at = |x: f32, y: f32| p(MIDDLE + sign * x, y);
        let points = format!(
            "M {} C {} {} {}",
            at(6.0, 150.0),
            at(8.0, 172.0),
            at(22.0 + 2.0 * sneer, 176.0 - 8.0 * sneer),
            at(12.0, 186.0 - 6.0 * sneer),
        );
        self.path(&points, r##"fill="none" stroke="#a9805f" stroke-width="3" stroke-linecap="round""##);
        if sneer > 0.0 {
            let style =
                format!(r##"fill="none" stroke="#a9805f" stroke-width="2.5" stroke-opacity="{sneer:.2}""##);
            for y in [136.0, 145.0] {
                self.path(&format!("M {} L {}", at(2.0, y), at(12.0, y - 6.0)), &style);
            }
            self.path(&format!("M {} Q {} {}", at(20.0, 168.0), at(34.0, 180.0), at(42.0, 202.0)), &style);
        }
    }

    /// The corner of the mouth: x and y.
    fn corner(&self, side: &str, sign: f32) -> (f32, f32) {
        let of = |stem: &str| self.side(stem, side);
        let round = 15.0 * self.of("mouthPucker") + 9.0 * self.of("mouthFunnel");
        let wide = 10.0 * of("mouthSmile") + 12.0 * of("mouthStretch") + 7.0 * of("mouthDimple");
        let shift = 10.0 * (self.of("mouthLeft") - self.of("mouthRight"));
        let drop = 13.0 * of("mouthFrown") + 6.0 * self.of("jawOpen") + 4.0 * of("mouthStretch");
        let rise = 17.0 * of("mouthSmile") + 3.0 * of("mouthDimple");
        (MIDDLE + shift + sign * (32.0 + wide - round), MOUTH_Y + drop - rise)
    }

    fn mouth(&mut self) {
        let (left, right) = (self.corner("Left", 1.0), self.corner("Right", -1.0));
        let both = |stem: &str| f32::midpoint(self.side(stem, "Left"), self.side(stem, "Right"));
        let (smile, frown) = (both("mouthSmile"), both("mouthFrown"));
        let round = self.of("mouthPucker").max(self.of("mouthFunnel"));
        let open = self.of("jawOpen") * (1.0 - self.of("mouthClose"));
        let chin = 5.0 * self.of("mouthShrugLower");
        let seam = MOUTH_Y + 3.0 * smile - 3.0 * frown - chin;
        let upper = seam - 7.0 * both("mouthUpperUp") - 3.0 * self.of("mouthFunnel");
        let lower = seam + 42.0 * open + 11.0 * both("mouthLowerDown") + 5.0 * self.of("mouthFunnel");
        let press = both("mouthPress");
        let full = |roll: &str| (1.0 - 0.55 * press - 0.7 * self.of(roll) + 0.5 * round).max(0.15);
        let (top, bottom) = (8.0 * full("mouthRollUpper"), 10.0 * full("mouthRollLower"));
        let x = f32::midpoint(left.0, right.0);
        let curve = |middle: f32| p(x, bend(middle, left.1, right.1));
        let [l, r] = [left, right].map(|(x, y)| p(x, y));
        let lips = format!("M {r} Q {} {l} Q {} {r} Z", curve(upper - top), curve(lower + bottom));
        self.path(&lips, r##"fill="#c9716b" stroke="#7d3b38" stroke-width="1.5" stroke-linejoin="round""##);
        let inside = format!("M {r} Q {} {l} Q {} {r} Z", curve(upper), curve(lower));
        self.path(&inside, r##"fill="#3b1414" stroke="#3b1414" stroke-width="2.5" stroke-linejoin="round""##);
        let gap = lower - upper;
        if gap > 6.0 {
            let (teeth, [l, r]) =
                ((0.35 * gap).min(8.0), [left, right].map(|(x, y)| p(x + (MIDDLE - x) * 0.12, y)));
            let row = format!("M {r} Q {} {l} Q {} {r} Z", curve(upper + 1.0), curve(upper + teeth));
            self.path(&row, r##"fill="#f6f1e4""##);
        }
        let tongue = self.of("tongueOut");
        if tongue > 0.0 {
            let y = format!("{:.1}", lower - 2.0 + 6.0 * tongue);
            let radius = format!("{:.1}", 4.0 + 6.0 * tongue);
            self.add(&format!(r##"<ellipse cx="{x:.1}" cy="{y}" rx="11" ry="{radius}" fill="#e0908f"/>"##));
        }
        for (side, sign, (x, y)) in [("Left", 1.0, left), ("Right", -1.0, right)] {
            let fold = self.side("mouthDimple", side).max(self.side("mouthSmile", side) * 0.8);
            if fold > 0.0 {
                let at = |dx: f32, dy: f32| p(x + sign * dx, y + dy);
                let points = format!("M {} Q {} {}", at(5.0, -12.0), at(13.0, -1.0), at(6.0, 10.0));
                let style =
                    format!(r##"fill="none" stroke="#a9805f" stroke-width="3" stroke-opacity="{fold:.2}""##);
                self.path(&points, &style);
            }
        }
        if chin > 0.0 || press > 0.0 {
            let points = format!("M {} Q {} {}", p(104.0, 254.0), p(MIDDLE, 247.0), p(136.0, 254.0));
            let opacity = press.max(chin / 5.0);
            self.path(
                &points,
                &format!(r##"fill="none" stroke="#c08a68" stroke-width="3" stroke-opacity="{opacity:.2}""##),
            );
        }
    }
}
