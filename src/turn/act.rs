//! What an NPC does with no player in sight: the same questions as beside a line, behind everything that players wait for.

use std::collections::BTreeMap;
use std::sync::Arc;

use dashmap::DashMap;
use uuid::Uuid;

use super::keep::now_ms;
use super::tracks::{Question, goals, names};
use super::{TurnError, Turns, mix, run};
use crate::archetype::Task;
use crate::chain::Routes;
use crate::history::{Body, Heard, Kind, Record};
use crate::npc::{Mind, Npc, Probs};
use crate::wire::{Choice, EmotionLabel, ErrorCode, GoalInfo, NpcAct, NpcActed};

/// The acts that are being decided, by player, NPC and the client's id.
#[derive(Debug, Default)]
pub(super) struct Acting(DashMap<(String, String, String), ()>);

/// An act's place among them, given back when it is dropped.
struct Decides<'a> {
    acting: &'a Acting,
    key: (String, String, String),
}

impl Drop for Decides<'_> {
    fn drop(&mut self) {
        self.acting.0.remove(&self.key);
    }
}

impl Acting {
    fn begin(&self, player: &str, act: &NpcAct) -> Option<Decides<'_>> {
        let key = (player.to_owned(), act.npc.clone(), act.act.clone());
        let new = self.0.insert(key.clone(), ()).is_none();
        new.then_some(Decides { acting: self, key })
    }
}

/// One question of an act.
struct Asked {
    task: Task,
    question: Question,
}

impl Turns {
    /// Decides what an NPC does on its own; it is on the disk when this returns. An act with the same id is told again, and
    /// nothing is asked.
    ///
    /// # Errors
    /// `unknown_npc`, `bad_payload` for a task that is not asked for choices, or without choices, `duplicate_turn` while
    /// one of this id is being decided, `overloaded`, `engine_failed`, `storage_failed`.
    pub async fn act(
        self: &Arc<Self>,
        player: &str,
        session: String,
        act: NpcAct,
    ) -> Result<NpcActed, TurnError> {
        let _task = self.tasks.token();
        let at_ms = self.now_ms();
        let unknown =
            || TurnError::new(ErrorCode::UnknownNpc, format!("there is no npc {:?}", act.npc)).field("npc");
        let npc = self.npcs.find(&act.npc).await?.ok_or_else(unknown)?;
        let running = || {
            let message = format!("act {:?} is still being decided", act.act);
            TurnError::new(ErrorCode::DuplicateTurn, message).field("act")
        };
        let _decides = self.acting.begin(player, &act).ok_or_else(running)?;
        if let Some(record) =
            self.history.find_act(player, &act.npc, &act.act).await.map_err(super::world::unstored)?
        {
            return Ok(NpcActed { npc: act.npc, act: act.act, results: record.body.results });
        }
        let asked =
            act.tasks.iter().map(|task| question(&npc, task, &act, at_ms)).collect::<Result<Vec<_>, _>>()?;
        // The same versions for all of them.
        let routes = npc.routes();
        let answers = asked.iter().map(|asked| self.decide(player, &npc, &routes, asked));
        let results: BTreeMap<String, Choice> =
            futures_util::future::try_join_all(answers).await?.into_iter().collect();
        let feeling =
            results.get(Task::EmotionalResponse.name()).and_then(felt).map(|probs| npc.feels(probs, at_ms));
        let ranking = results.get(Task::GoalPrioritization.name()).map(|choice| {
            let p = |goal: GoalInfo| Some((goal.id, *choice.probs.get(&goal.text)?));
            goals(&npc, at_ms).into_iter().filter_map(p).collect::<BTreeMap<_, _>>()
        });
        let chosen = results.get(Task::ActionPolicy.name()).map(|choice| choice.choice.as_str());
        let body = Body {
            session: Some(session),
            context: Some(act.context.clone()),
            results: results.clone(),
            ..Body::happened(&act.act, &npc.info.archetype, remembered(&act.context, chosen), now_ms())
        };
        let heard = Heard { said: String::new(), chars: None };
        let (id, kind) = (Uuid::now_v7(), Kind::Action);
        let record = Record { id, kind, npc: act.npc.clone(), player: player.to_owned(), heard, body };
        let told = self.history.tell(record).await.map_err(super::world::unstored)?;
        let change = |mind: &mut Mind| {
            if let Some(feeling) = &feeling {
                mind.feel(feeling.label, feeling.intensity, None, at_ms);
            }
            if let Some(ranking) = &ranking {
                mind.rank(ranking, at_ms);
            }
        };
        if (feeling.is_some() || ranking.is_some())
            && let Err(error) = self.npcs.change_anywhere(&act.npc, change).await
        {
            // The act stands; what it would have made of the NPC does not.
            tracing::error!(npc = act.npc, %error, "an act has not changed its NPC");
        }
        Ok(NpcActed { npc: act.npc, act: act.act, results: told.body.results })
    }

    async fn decide(
        self: &Arc<Self>,
        player: &str,
        npc: &Npc,
        routes: &Routes,
        asked: &Asked,
    ) -> Result<(String, Choice), TurnError> {
        let Asked { task, question } = asked;
        let adapter = mix::of_task(npc, routes, None, *task).map(|(weighted, _)| weighted);
        let choice = self.choose(question, adapter, run::schedule(player, &npc.info.id)).await?;
        Ok((task.to_string(), question.answer(&choice.probs)))
    }
}

/// What the NPC remembers of it: nothing where it did nothing.
fn remembered(context: &str, action: Option<&str>) -> String {
    match (action, context.trim()) {
        (None, _) => String::new(),
        (Some(action), "") => format!("you chose to {action}"),
        (Some(action), context) => format!("you chose to {action} ({context})"),
    }
}

fn felt(choice: &Choice) -> Option<Probs> {
    let mut probs = Probs::default();
    for (p, label) in probs.iter_mut().zip(EmotionLabel::ALL) {
        *p = *choice.probs.get(label.name())?;
    }
    Some(probs)
}

fn question(npc: &Npc, task: &str, act: &NpcAct, at_ms: u64) -> Result<Asked, TurnError> {
    let bad = |field: &str, message: String| TurnError::new(ErrorCode::BadPayload, message).field(field);
    let (pack, name) = (&npc.pack, npc.info.name.as_str());
    let task: Task = task.parse().map_err(|_| bad("tasks", format!("there is no task {task:?}")))?;
    let question = match task {
        Task::EmotionalResponse => Question::emotion(pack, name, &act.context, None),
        Task::ActionPolicy if names(&act.actions).is_empty() => {
            return Err(bad("actions", "action_policy chooses among actions, and there is none".into()));
        }
        Task::ActionPolicy => Question::action(pack, name, &act.context, &act.actions),
        Task::SocialDynamics => Question::social(pack, name, &act.context),
        Task::GoalPrioritization => {
            let goals: Vec<_> = goals(npc, at_ms).into_iter().map(|goal| goal.text).collect();
            if goals.is_empty() {
                return Err(bad("tasks", "goal_prioritization ranks goals, and the NPC has none".into()));
            }
            Question::goal(pack, name, &act.context, &goals)
        }
        Task::Personality | Task::DialogueStyle | Task::WorldKnowledge => {
            let message = format!("{task} speaks; it is not asked for a choice");
            return Err(bad("tasks", message));
        }
    };
    Ok(Asked { task, question })
}
