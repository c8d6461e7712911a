//! Random plans with every kind of step, in random trouble: whatever happens, in whatever order, the rules of `rules.rs` hold.

use super::dice::Dice;
use super::world::World;
use super::*;
use crate::model::run::event::Direction;

/// A step: its form as [`phase`] reads it (`r` stands for read-only, `w` for one that is watched, too, `-` for one that ends the first), how often it is tried again, whether
/// it is durable, and the hosts that have its role.
type AnyStep = (&'static str, Option<u32>, bool, u8);

fn any_step() -> impl Strategy<Value = AnyStep> {
    let form = prop::sample::select(vec!["", "!", "!", "?", "r", "w", "-", "!-"]);
    let again = prop::option::weighted(0.3, 0..3_u32);
    (form, again, prop::bool::weighted(0.85), prop_oneof![3 => Just(u8::MAX), 1 => any::<u8>()])
}

/// Whether it runs once, its hosts in a row that is cut into batches of that size, whether it soaks, and its steps.
type AnyPhase = (bool, usize, bool, Vec<AnyStep>);

fn any_phase() -> impl Strategy<Value = AnyPhase> {
    (prop::bool::weighted(0.3), 1..6_usize, any::<bool>(), prop::collection::vec(any_step(), 1..4))
}

fn planned(number: usize, hosts: usize, (is_once, size, soaks, steps): AnyPhase) -> PlanPhase {
    let is_for = |mask: u8, host: usize| mask >> (host % 8) & 1 == 1;
    let one: Vec<usize> = vec![steps.len() % hosts];
    let some: Vec<usize> = (0..hosts).filter(|host| steps.iter().any(|(.., mask)| is_for(*mask, *host))).collect();
    let chosen = if is_once || some.is_empty() { one } else { some };
    let batches: Vec<&[usize]> = chosen.chunks(size).collect();
    let name = |(n, (form, ..)): (usize, &AnyStep)| match form.strip_suffix('-') {
        Some(form) => format!("s{n}{form} -p0/s0"),
        None => format!("s{n}{}", form.trim_end_matches(['r', 'w'])),
    };
    let names: Vec<String> = steps.iter().enumerate().map(name).collect();
    let mut made = phase(&format!("p{number}"), &batches, &names.iter().map(String::as_str).collect::<Vec<_>>());
    made.once = is_once;
    made.soak = Duration::from_secs(u64::from(soaks));
    for (step, (form, again, durable, mask)) in made.steps.iter_mut().zip(steps) {
        step.idempotent = again.is_some();
        step.retry = again.filter(|times| *times > 0).map(|times| Retry { times, delay: Duration::ZERO });
        step.durable = durable;
        step.read_only = matches!(form, "r" | "w");
        step.watch = (form == "w").then_some(Watch { every: Duration::from_secs(1), failures: 2 });
        if chosen.iter().any(|host| is_for(mask, *host)) {
            step.hosts = step.hosts.iter().filter(|host| is_for(mask, host.0)).collect();
        }
    }
    made.batches.iter_mut().for_each(|b| b.retain(|host| made.steps.iter().any(|s| s.hosts.contains(*host))));
    made.batches.retain(|batch| !batch.is_empty());
    made
}

/// A plan as short as it can be told.
#[derive(Debug, Clone)]
struct Sketch {
    hosts: usize,
    phases: Vec<AnyPhase>,
    budget: usize,
    parallel: usize,
    hold: bool,
}

impl Sketch {
    fn plan(self) -> Plan {
        let phases = self.phases.into_iter().enumerate().map(|(number, phase)| planned(number, self.hosts, phase));
        let mut p = plan(self.hosts, phases.collect());
        p.max_failures = self.budget;
        p.parallel = self.parallel;
        p.on_failure = if self.hold { OnFailure::Hold } else { OnFailure::Undo };
        p
    }
}

fn any_plan() -> impl Strategy<Value = Sketch> {
    (1..6_usize, prop::collection::vec(any_phase(), 1..5), 0..4_usize, 1..4_usize, prop::bool::weighted(0.3))
        .prop_map(|(hosts, phases, budget, parallel, hold)| Sketch { hosts, phases, budget, parallel, hold })
}

fn any_dice() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(any::<u16>(), 0..600)
}

/// Controllers die or come to an end, and a person decides, resumes, undoes, cancels, and may give hosts up.
fn in_trouble(plan: Plan, rolls: Vec<u16>, gives_up: bool) -> World {
    let mut world = World::new(plan, Dice::new(rolls));
    world.begin();
    for _ in 0..3 {
        let direction =
            [Direction::Forward, Direction::Forward, Direction::Back, Direction::Cancel][world.dice.roll() % 4];
        if direction == Direction::Forward {
            world.decide();
            if gives_up && world.dice.one_in(6) {
                let host = world.dice.roll() % world.hosts.len();
                world.give_up(host);
            }
        }
        world.resume(direction);
    }
    world
}

proptest! {
    /// Whatever happens in whatever order, the invariants hold and the run ends.
    #[test]
    fn every_run_ends_and_keeps_the_invariants(sketch in any_plan(), rolls in any_dice()) {
        let dice = Dice { immortal: true, ..Dice::new(rolls) };
        prop_assert!(World::new(sketch.plan(), dice).begin());
    }

    #[test]
    fn whatever_a_person_does_nothing_runs_beside_another(sketch in any_plan(), rolls in any_dice()) {
        in_trouble(sketch.plan(), rolls, true);
    }

    /// Where nothing goes wrong but that controllers die, the run comes to its end as if none had.
    #[test]
    fn a_run_whose_controllers_die_succeeds_in_the_end(sketch in any_plan(), rolls in any_dice()) {
        let mut plan = sketch.plan();
        plan.phases.iter_mut().flat_map(|phase| &mut phase.steps).for_each(|step| step.durable = true);
        let dice = Dice { calm: true, patient: true, ..Dice::new(rolls) };
        let mut world = World::new(plan, dice);
        let mut through = world.begin();
        while !through {
            through = world.resume(Direction::Forward);
        }
        prop_assert!(world.settled.values().all(|settled| settled.outcome == HostOutcome::Succeeded), "{:?}", world.settled);
        prop_assert_eq!(world.ran_twice(), None);
    }

    /// Whatever has happened: when all hosts are there and every undo works, nothing is left in force.
    #[test]
    fn an_undo_takes_back_whatever_was_left(sketch in any_plan(), rolls in any_dice()) {
        let mut world = in_trouble(sketch.plan(), rolls, false);
        world.dice = Dice { calm: true, immortal: true, patient: true, ..Dice::new(Vec::new()) };
        // An unknown step is reported first, and undone when the person who saw the report asks for it again.
        prop_assert!(world.resume(Direction::Back));
        prop_assert!(world.resume(Direction::Back));
        for settled in world.settled.values() {
            prop_assert!(settled.in_force.is_empty() && !settled.keeps_lock, "{settled:?}");
        }
    }
}
