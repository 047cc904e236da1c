//! The options of a choice: one in the row's own sequence, as many others as there is room for beside it, each in a
//! sequence that begins with the prompt's pages and lives for one step.

use std::sync::Arc;

use super::{Scheduler, Slot};
use crate::engine::decoder::{Decoder, StepToken};

impl Scheduler {
    /// Lets go of the sequences that options had in the last step.
    pub(super) fn release_options(&mut self, decoder: &mut dyn Decoder) {
        for sequence in 0..self.rows.len() {
            if matches!(self.rows[sequence], Slot::Option { .. }) {
                decoder.release(sequence);
                self.rows[sequence] = Slot::Free;
                self.mixes[sequence] = Arc::default();
            }
        }
    }

    /// Gives the options of choices their sequences for the next step.
    pub(super) fn spread_options(&mut self, decoder: &mut dyn Decoder) {
        let mut choices: Vec<(u64, usize)> = Vec::new();
        let mut budget = self.limits.prefill_budget;
        for (sequence, slot) in self.rows.iter_mut().enumerate() {
            if let Some(live) = slot.live_mut()
                && live.row.take_own_option()
            {
                choices.push((live.step, sequence));
            }
        }
        if choices.is_empty() {
            return;
        }
        // Oldest first.
        choices.sort_unstable();
        let page = decoder.page_tokens();
        let mut pages = 0;
        let mut free: Vec<usize> =
            (0..self.rows.len()).rev().filter(|at| matches!(self.rows[*at], Slot::Free)).collect();
        for (_, of) in choices {
            while let Some((prompt, option, length)) = self.next_option(of) {
                // The last page of the prompt, if it is full only in part, is copied by whoever writes to it.
                let needed = (prompt % page + length).div_ceil(page);
                let room =
                    length <= budget && !free.is_empty() && self.make_room(pages + needed, &[], decoder);
                let Some(sequence) = room.then(|| free.pop()).flatten() else {
                    self.put_back(of, option);
                    break;
                };
                if decoder.share(of, sequence, prompt) < prompt {
                    decoder.release(sequence);
                    free.push(sequence);
                    self.put_back(of, option);
                    break;
                }
                pages += needed;
                budget -= length;
                self.mixes[sequence] = Arc::clone(&self.mixes[of]);
                self.rows[sequence] = Slot::Option { of, option };
            }
        }
    }

    /// The tokens of a row's prompt, its next option and the tokens to compute for that.
    fn next_option(&mut self, of: usize) -> Option<(usize, usize, usize)> {
        let row = &mut self.rows[of].live_mut()?.row;
        let (option, length) = row.next_option()?;
        Some((row.job.prompt.len(), option, length))
    }

    fn put_back(&mut self, of: usize, option: usize) {
        if let Some(live) = self.rows[of].live_mut() {
            live.row.put_back(option);
        }
    }

    /// The tokens of the options that have sequences of their own.
    pub(super) fn plan_options(&self, tokens: &mut Vec<StepToken>) {
        for (sequence, slot) in self.rows.iter().enumerate() {
            let Slot::Option { of, option } = *slot else { continue };
            let Some(live) = self.rows[of].live() else { continue };
            live.row.option_tokens(option, |position, token, wants_logits| {
                tokens.push(StepToken { sequence, position, token, wants_logits });
            });
        }
    }
}
