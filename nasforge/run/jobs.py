"""The jobs of a run, as functions from what earlier jobs left to files: what a worker process executes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nasforge.executors.base import Executor
from nasforge.executors.network import Network
from nasforge.executors.recurrent import RecurrentBackend
from nasforge.executors.shared import standalone
from nasforge.executors.team import ALONE, Team
from nasforge.executors.training import REPORT_EVERY, Losses, Trainer, mean
from nasforge.export.files import exported_files
from nasforge.graph.count import Meter
from nasforge.graph.plan import plan_architecture
from nasforge.graph.supergraph import Supergraph
from nasforge.plugins import Plugins
from nasforge.resolve import resolve
from nasforge.run.compile import compile_space
from nasforge.run.directory import RunDirectory
from nasforge.run.keeper import Keeper
from nasforge.run.latency import LatencyMeter, LatencyRule, Probe, probe
from nasforge.run.plan import Job
from nasforge.run.policy import on_random_weights
from nasforge.run.references import reference_network
from nasforge.run.sampling import Member, stratified
from nasforge.run.searching import search, search_executor
from nasforge.seeds import derive, stream
from nasforge.space.architecture import Architecture
from nasforge.spec.sections import LatencyOptions
from nasforge.spec.specs import RunSpec
from nasforge.strategies.base import Event, Tick
from nasforge.tasks.base import Score, Split, Task


class Workshop:
    """What the jobs of one run share in one process: spec, data, compiled graph.

    The ranks of a team run the same job at the same time, each on its part of the batches; all leave the same files.
    """

    def __init__(
        self,
        spec: RunSpec,
        plugins: Plugins,
        directory: RunDirectory,
        *,
        base: Path,
        device: str,
        backend: RecurrentBackend | None,
        team: Team = ALONE,
    ) -> None:
        self.spec = spec
        self.operations = plugins.catalogue.operations
        self.plugins = plugins
        self.directory = directory
        self.base = base
        self.device = device
        self.backend = backend
        self.team = team

    @cached_property
    def task(self) -> Task:
        """The task, with its data in memory."""
        build = resolve(self.spec.task_kind.build)
        task: Task = build(self.spec.task, self.base, seed=self.spec.seed, device=self.device, team=self.team)
        return task

    @cached_property
    def search_graph(self) -> Supergraph:
        """The search stage of the space."""
        return self._timed(compile_space(self.spec, "search", self.operations))

    @cached_property
    def final_graph(self) -> Supergraph:
        """The final stage of the space."""
        return self._timed(self.untimed_graph)

    @cached_property
    def untimed_graph(self) -> Supergraph:
        """The final stage of the space, within all limits but that on latency."""
        return compile_space(self.spec, "final", self.operations)

    def _timed(self, graph: Supergraph) -> Supergraph:
        limits = self.spec.limits
        if limits is None or limits.latency_ms is None:
            return graph
        rule = LatencyRule(limits.latency_ms, graph.space.rule, self.latency)
        return replace(graph, space=graph.space.limited(rule))

    @cached_property
    def latency(self) -> LatencyMeter:
        """Milliseconds of architectures, measured when they are first asked for."""
        # Digests are those of the search, as everywhere; what is timed is the final network.
        digests, final = compile_space(self.spec, "search", self.operations), self.untimed_graph
        options, path = self.spec.latency or LatencyOptions(), self.directory.path / "latency.jsonl"
        return LatencyMeter(self.task, digests, lambda each: self.fresh(each, final), options, path, device=self.device)

    def cost(self, name: str, architecture: Architecture) -> float:
        """What an objective beside the metric asks of an architecture."""
        if name == "latency_ms":
            return self.latency(architecture)
        counts = self.meter.count(architecture)
        return counts.parameters if name == "parameters" else counts.flops

    def run(self, job: Job, emit: Keeper) -> dict[str, bytes]:
        """Do `job` and return the files that it leaves."""
        if job.kind == "search":
            return search(self, job, emit)
        if job.kind == "reference":
            return self._reference(job, emit)
        if job.kind == "sample":
            return self._sampled(job, emit)
        if job.kind == "policy":
            executor = search_executor(self)
            assert isinstance(executor, Executor)
            return {"result.json": _json(on_random_weights(self, executor, emit))}
        return self._short(job, emit) if job.kind == "short" else self._train(job, emit)

    # Training from scratch -------------------------------------------------------------------------------------------

    def fresh(self, architecture: Architecture, graph: Supergraph | None = None) -> Network:
        """A network to be trained from scratch, of the final stage or of another graph."""
        spec = self.spec
        return standalone(
            graph or self.final_graph,
            architecture,
            self.operations,
            self.task,
            spec.final_recipe,
            width=spec.train.hidden,
            seed=derive(spec.seed, "final weights"),
            device=self.device,
            backend=self.backend,
            precision=spec.executor.precision,
        )

    def _fit(self, network: Network, epochs: int, emit: Keeper, title: str) -> Trainer:
        task, recipe = self.task, self.spec.final_recipe
        per_epoch = task.steps_per_epoch(recipe)
        trainer = Trainer(task, recipe, epochs * per_epoch, seed=derive(self.spec.seed, "final training"))
        training = _Training(network, trainer)
        kept = emit.restored()
        if kept is not None:
            training.load_state(kept)
        shown, losses = training.shown, training.losses
        for epoch in range(trainer.step_number // per_epoch, epochs):
            for step in range(trainer.step_number - epoch * per_epoch, per_epoch):
                report = trainer.step([network])
                losses.add(report)
                if (step + 1) % REPORT_EVERY == 0 or step + 1 == per_epoch:
                    recent = mean(losses.read()[-REPORT_EVERY:])
                    if recent is not None:
                        shown["loss"] = recent
                done, total = trainer.step_number, epochs * per_epoch
                emit(Tick(f"{title}, epoch {epoch + 1}/{epochs}", done, total, dict(shown), done / total))
                if step + 1 == per_epoch:
                    facts = {
                        "epoch": epoch,
                        "loss": mean(losses.read()),
                        "skipped": trainer.skipped,
                        "valid": _finite(self._proxy(network).value),
                    }
                    emit(Event("epoch", facts))
                    losses.load_state(())
                emit.step(training.state)
        return trainer

    def _proxy(self, network: Network) -> Score:
        """The score by which trainings are watched and candidates are chosen."""
        with network.computing():
            return self.task.evaluate(network, "valid", exact=False)

    def _short(self, job: Job, emit: Keeper) -> dict[str, bytes]:
        shortlist = self.directory.read_job_result(job.arm)["shortlist"]
        if job.index >= len(shortlist):
            return {"result.json": _json({"valid": None, "reason": "the search held fewer distinct candidates"})}
        return self._briefly(shortlist[job.index]["decisions"], emit)

    def _sampled(self, job: Job, emit: Keeper) -> dict[str, bytes]:
        if job.index >= len(self.sample):
            return {"result.json": _json({"valid": None, "reason": "the sample holds fewer distinct architectures"})}
        return self._briefly(self.sample[job.index].architecture, emit)

    def _briefly(self, decisions: Mapping[str, str], emit: Keeper) -> dict[str, bytes]:
        network = self.fresh(self.final_graph.space.architecture(decisions))
        self._fit(network, self.spec.derive.short_epochs, emit, "from scratch")
        valid = self._proxy(network)
        return {"result.json": _json({"valid": _finite(valid.value), "epochs": self.spec.derive.short_epochs})}

    def _train(self, job: Job, emit: Keeper) -> dict[str, bytes]:
        chosen = self._winner(job.arm)
        architecture = self.final_graph.space.architecture(chosen["decisions"])
        network = self.fresh(architecture)
        trainer = self._fit(network, self.spec.train.epochs, emit, "from scratch")
        trained = self._trained(network, trainer, emit)
        result = {**chosen, "parameters": network.count(), "trained": trained}
        files = {"result.json": _json(result)}
        if job.arm == "search":
            files |= self._take_home(architecture, network, chosen, trained)
        return files

    def _winner(self, arm: str) -> dict[str, Any]:
        """The shortlisted candidate that did best after its short training; the best proxy where none was finite."""
        shortlist = self.directory.read_job_result(arm)["shortlist"]
        metric = self.task.metric
        best, best_value = dict(shortlist[0]), math.inf if metric.direction == "min" else -math.inf
        for index, candidate in enumerate(shortlist if self.spec.derive.shortlist > 1 else ()):
            value = self.directory.read_job_result(f"{arm}-short-{index}")["valid"]
            if value is not None and metric.better(value, best_value):
                best, best_value = (
                    {**candidate, "short": {"epochs": self.spec.derive.short_epochs, "valid": value}},
                    value,
                )
        return best

    def _trained(self, network: Network, trainer: Trainer, emit: Keeper) -> dict[str, Any]:
        splits: tuple[Split, ...] = ("valid", "test")

        def score(index: int) -> Score:
            emit(Tick(f"evaluating on the {splits[index]} split", index, 2))
            return self.task.evaluate(network, splits[index], exact=True)

        scores = dict(zip(splits, self.task.scores(2, score), strict=True))
        metric = self.task.metric
        errors = {
            f"{split}_standard_error": _finite(score.standard_error)
            for split, score in scores.items()
            if score.standard_error is not None
        }
        return {
            "metric": metric.name,
            "direction": metric.direction,
            "valid": _finite(scores["valid"].value),
            "test": _finite(scores["test"].value),
            **errors,
            "epochs": self.spec.train.epochs,
            "items": trainer.items,
            "skipped_steps": trainer.skipped,
        }

    def _take_home(
        self, architecture: Architecture, network: Network, chosen: Mapping[str, Any], trained: Mapping[str, Any]
    ) -> dict[str, bytes]:
        data = self.task.facts()
        facts = [
            (
                "data",
                ", ".join([data["name"], *([data["note"]] if "note" in data else []), f"sha256 {data['sha256']}"]),
            ),
            (f"test {trained['metric']}", f"{trained['test']}"),
            (f"valid {trained['metric']}", f"{trained['valid']}"),
            ("epochs", f"{trained['epochs']}"),
            ("canonical digest", str(chosen["canonical_digest"])),
        ]
        plan = plan_architecture(self.final_graph, architecture)
        return exported_files(self.task, plan, self.operations, network, title=self.spec.name, facts=facts)

    def _reference(self, job: Job, emit: Keeper) -> dict[str, bytes]:
        name = job.name.removeprefix("reference-")
        network = reference_network(self, name)
        trainer = self._fit(network, self.spec.train.epochs, emit, "from scratch")
        trained = self._trained(network, trainer, emit)
        return {"result.json": _json({"name": name, "parameters": network.count(), "trained": trained})}

    @cached_property
    def sample(self) -> list[Member]:
        """The architectures whose proxies are compared with training from scratch: the same in every process."""
        n, rng = self.spec.compare.correlation, stream(self.spec.seed, "stratified sample")
        return stratified(self.search_graph, lambda each: self.meter.count(each).parameters, n, rng)

    @cached_property
    def meter(self) -> Meter:
        """Counts final networks, the task's own layers apart."""
        shapes = self.task.input_shapes(self.spec.train.hidden)
        return Meter(self.untimed_graph, self.operations, lambda choices: shapes)


def probe_latency(shop: Workshop) -> Probe:
    """What a few architectures take; only for runs that limit latency."""
    limits = shop.spec.limits
    assert limits is not None and limits.latency_ms is not None
    return probe(shop.untimed_graph.space, limits.latency_ms, shop.latency)


class _Training:
    """A training from scratch: what it has, so that it can go on exactly."""

    def __init__(self, network: Network, trainer: Trainer) -> None:
        self.network, self.trainer = network, trainer
        self.losses, self.shown = Losses(), dict[str, float]()

    @property
    def _values(self) -> Mapping[str, Tensor]:
        """Weights, those that are there in training only too, and running statistics."""
        return {**self.network.trained, **self.network.core.statistics}

    def state(self) -> Mapping[str, Any]:
        return {
            "values": dict(self._values),
            "trainer": self.trainer.state(self.network.trained),
            "losses": list(self.losses.read()),
            "shown": dict(self.shown),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        with torch.no_grad():
            for name, value in self._values.items():
                value.copy_(state["values"][name])
        self.trainer.load_state(state["trainer"], self.network.trained)
        self.losses.load_state(state["losses"])
        self.shown.update(state["shown"])


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()
