//! All players lose the network at once, in the middle of an answer, and come back as fast as they can.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use rand::Rng;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Common, Crowd, SEEDS};
use crate::book::Ended;
use crate::bot::{Bot, Told, Words};
use crate::fault::Fault;
use crate::report::Report;
use crate::wire::{Body, Generation};

#[derive(Debug, Args)]
pub struct StormArgs {
    #[command(flatten)]
    pub common: Common,
    /// Times that the network goes.
    #[arg(long, default_value_t = 1)]
    pub storms: u32,
    /// Seconds from when all turns have begun, and from when all are back, to the next storm.
    #[arg(long, default_value_t = 1.0)]
    pub calm: f64,
}

/// What all players do at the same time.
#[derive(Debug)]
struct Weather {
    /// 0: they come; 1: they speak; from 2 on: they are cut off.
    stage: watch::Sender<u32>,
    storms: u32,
    /// Players who did what the stage is about.
    ready: AtomicUsize,
    /// Players who can do nothing any more.
    lost: AtomicUsize,
    /// What a script says to each seed, heard by somebody who was not cut off.
    texts: HashMap<u64, String>,
}

pub async fn run(args: &StormArgs) -> anyhow::Result<Arc<Report>> {
    let crowd = Crowd::gather(&args.common).await?;
    let texts = rehearse(&crowd).await.map_err(|fault| anyhow::anyhow!("before the storm: {fault}"))?;
    let weather = Arc::new(Weather {
        stage: watch::Sender::new(0),
        storms: args.storms.max(1),
        ready: AtomicUsize::new(0),
        lost: AtomicUsize::new(0),
        texts,
    });
    let playing = crowd.play(|crowd, number| {
        let weather = Arc::clone(&weather);
        async move {
            let weathered = endure(crowd, number, &weather).await;
            if weathered.is_err() {
                weather.lost.fetch_add(1, Ordering::AcqRel);
            }
            weathered
        }
    });
    let calm = Duration::from_secs_f64(args.calm.clamp(0.0, 1e6));
    let blowing = async {
        weather.all_ready(&crowd).await;
        weather.next();
        weather.all_ready(&crowd).await;
        for _ in 0..weather.storms {
            sleep(calm).await;
            let start = Instant::now();
            weather.next();
            weather.all_ready(&crowd).await;
            crowd.report.time("storm until all were back", start.elapsed());
        }
    };
    tokio::join!(playing, blowing);
    let back = crowd.report.counted("sessions resumed");
    let due = args.common.clients as u64 * u64::from(weather.storms);
    if back != due {
        crowd.report.broke(format!("{back} of {due} sessions were resumed"));
    }
    Ok(Arc::clone(&crowd.report))
}

impl Weather {
    async fn all_ready(&self, crowd: &Crowd) {
        while self.ready.load(Ordering::Acquire) + self.lost.load(Ordering::Acquire) < crowd.common.clients {
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn next(&self) {
        self.ready.store(0, Ordering::Release);
        self.stage.send_modify(|stage| *stage += 1);
    }

    async fn wait(&self, stage: u32) {
        // The sender is in here: it cannot be gone.
        let _ = self.stage.subscribe().wait_for(|now| *now >= stage).await;
    }

    fn done(&self) {
        self.ready.fetch_add(1, Ordering::AcqRel);
    }
}

/// Hears what a script says to every seed. A model's answers are not foreseen.
async fn rehearse(crowd: &Arc<Crowd>) -> Result<HashMap<u64, String>, Fault> {
    let token = crowd.token(0);
    let mut bot = Bot::enter(&crowd.door, 0, &token, &Arc::default()).await?;
    if bot.link.seat.window.is_zero() {
        return Err(Fault::Broke("the gateway keeps no session (resume_window_ms is 0)".into()));
    }
    let mut texts = HashMap::new();
    if bot.link.hello.engine == "scripted" {
        let mut begun = Vec::new();
        for seed in 0..SEEDS {
            let npc = crowd.npc(seed as usize);
            bot.join(&npc, &crowd.common.archetype).await?;
            begun.push((bot.begin(words(&npc, seed)).await?.0, seed));
        }
        while texts.len() < begun.len() {
            let frame = bot.link.next().await?;
            if let Body::Error(refusal) = frame.body {
                return Err(Fault::Refused(refusal));
            }
            if let Some(ended) = bot.hear(&frame)?
                && let Some((_, seed)) = begun.iter().find(|(turn, _)| *turn == ended.turn)
            {
                texts.insert(*seed, ended.text);
            }
        }
    }
    bot.link.leave().await;
    Ok(texts)
}

fn words(npc: &str, seed: u64) -> Words<'_> {
    let generation = Some(Generation { seed: Some(seed), max_tokens: None });
    Words { npc, text: "Tell me a long story.", generation, audience: &[] }
}

async fn endure(crowd: Arc<Crowd>, number: usize, weather: &Weather) -> Result<(), Fault> {
    let npc = crowd.npc(number);
    let mut bot = crowd.enter(number).await?;
    bot.join(&npc, &crowd.common.archetype).await?;
    weather.done();
    stand_until(&mut bot, weather, 1).await?;

    let seed = crowd.choices(number).random_range(0..SEEDS);
    let said = Instant::now();
    let (turn, cid) = bot.begin(words(&npc, seed)).await?;
    let mut told = None;
    while bot.book.open() == 0 && told.is_none() {
        let frame = bot.link.next().await?;
        if let Body::Error(refusal) = frame.body {
            return Err(Fault::Refused(refusal));
        }
        told = bot.hear(&frame)?;
    }
    weather.done();
    for storm in 0..weather.storms {
        if let Some(ended) = stand_until(&mut bot, weather, 2 + storm).await? {
            told = Some(ended);
        }
        if told.is_some() {
            crowd.report.count("turns over before the storm");
        }
        let cut = Instant::now();
        let (back, ended) = come_back(bot, &crowd, number).await?;
        bot = back;
        told = told.or(ended);
        crowd.report.time("cut to resumed", cut.elapsed());
        crowd.report.count("sessions resumed");
        weather.done();
    }
    if told.is_none() {
        match bot.listen(&turn, cid, said).await? {
            Told::Answered(ended) => told = Some(ended),
            Told::Refused(refusal) => return Err(Fault::Refused(refusal)),
        }
    }
    if let (Some(ended), Some(text)) = (told, weather.texts.get(&seed)) {
        if ended.text != *text {
            return Err(Fault::Broke(format!("{:?} was heard instead of {text:?}", ended.text)));
        }
        crowd.report.count("turns with exactly their text");
    }
    bot.link.leave().await;
    Ok(())
}

/// Listens until the stage has come; returns the turn that ended meanwhile.
async fn stand_until(bot: &mut Bot, weather: &Weather, stage: u32) -> Result<Option<Box<Ended>>, Fault> {
    let come = weather.wait(stage);
    tokio::pin!(come);
    let mut told = None;
    loop {
        tokio::select! {
            () = &mut come => return Ok(told),
            frame = bot.link.next_or_wait() => {
                if let Some(ended) = bot.hear(&frame?)? {
                    told = Some(ended);
                }
            }
        }
    }
}

/// Loses the network and resumes, as often as it takes. Returns the turn whose end was missed, if it was.
async fn come_back(bot: Bot, crowd: &Crowd, number: usize) -> Result<(Bot, Option<Box<Ended>>), Fault> {
    let (mut lost, mut seat) = bot.cut();
    let mut told = None;
    loop {
        let link = crowd.insist(|| crowd.door.resume(number, seat.clone())).await?;
        let mut bot = lost.reseated(link);
        let fault = loop {
            match bot.link.next().await {
                Ok(frame) => {
                    if let Some(ended) = bot.hear(&frame)? {
                        told = Some(ended);
                    }
                    match frame.body {
                        Body::Resumed(resumed) => {
                            bot.report.add("frames replayed", resumed.replayed);
                            return Ok((bot, told));
                        }
                        Body::ResumeFailed(failed) => return Err(Fault::NotResumed(failed.reason)),
                        _ => {}
                    }
                }
                Err(fault) => break fault,
            }
        };
        if !fault.is_passing() {
            return Err(fault);
        }
        crowd.report.count("connections lost again");
        (lost, seat) = bot.cut();
    }
}
