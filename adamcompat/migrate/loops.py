"""Report the uses of optimizers that find gradients by themselves, as PyTorch's and Paddle's do, in training loops."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Sequence

from adamcompat.mapping.tables import MAPPING
from adamcompat.migrate.editor import Editor
from adamcompat.migrate.module import Module, Use
from adamcompat.translation.bindings import root_of
from adamcompat.translation.messages import Message, error, info, warning

#: The calling convention of such optimizers.
PROTOCOL = "step"
# Their modules, and what stands beside the classes there.
_OURS = [dialect for dialect in MAPPING.dialects.values() if dialect.protocol == PROTOCOL]
_HOMES = {dialect.target.rpartition(".")[0] for dialect in _OURS}
_ROOTS = {*(dialect.target.partition(".")[0] for dialect in _OURS), "functorch"}
# The methods that forget gradients.
_FORGETTING = {method.name for dialect in _OURS for method in dialect.methods if method.role == "forget_gradients"}
_SCHEDULES, _SCALER = "lr_scheduler", "GradScaler"
# The functions that clip, the old name and Lightning's method among them.
_CLIPS = {"clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_gradients", "clip_grads_with_norm_"}
# Methods that find gradients, attributes by which gradients are changed, and functions that return them.
_BACKWARD = {"backward", "manual_backward"}
_GRADIENT, _HOOKS = "grad", {"register_hook", "register_post_accumulate_grad_hook", "retain_grad"}
_FUNCTIONS = {"grad", "grad_and_value", "hessian", "hvp", "jacobian", "jacfwd", "jacrev", "jvp", "vhp", "vjp"}
# How the best known of these is written where no import says whose it is.
_LOOSE = ("autograd.grad",)
# Attributes that only an optimizer, a loss in its loop or a parameter is asked for, whatever it is called.
_ATTRIBUTES = {"add_param_group", "param_groups", "step", *_BACKWARD, *_FORGETTING, *_HOOKS}
_STATES = ("load_state_dict", "state_dict")

# What stands for each part of a loop in the other frameworks.
_INSTEAD = {
    "apply_gradients": {
        "forget": "gradients are values there, which nothing keeps, so there is nothing to forget; leave the line out",
        "backward": "write tf.GradientTape around the forward pass, and tape.gradient(loss, variables)",
        "step": "write optimizer.apply_gradients(zip(gradients, variables)) with the gradients of a tape",
        "closure": "write the forward pass, its gradients and optimizer.apply_gradients(zip(gradients, variables))",
        "scaler": "write keras.optimizers.LossScaleOptimizer around the optimizer, and optimizer.scale_loss(loss)",
        "clip": "the optimizer clips: clipnorm=, global_clipnorm= or clipvalue=",
        "gradient": "gradients are values there: change what tape.gradient gives, before apply_gradients",
        "differentiate": "write tape.gradient(result, sources) of a tf.GradientTape around what is differentiated",
        "groups": "an optimizer has one learning rate for all, optimizer.learning_rate",
        "state": "the state has another form there; adamcompat state convert carries a saved one over",
        "schedule": "a schedule is the learning_rate of the constructor, and counts steps",
    },
    "call": {
        "forget": "gradients are values there, which nothing keeps, so there is nothing to forget; leave the line out",
        "backward": "write mindspore.value_and_grad(forward, None, optimizer.parameters), which gives the gradients",
        "step": "write optimizer(gradients) with the gradients of value_and_grad",
        "closure": "write forward as a function, mindspore.value_and_grad of it, and optimizer(gradients)",
        "scaler": "mindspore.amp has loss scalers, which scale the loss and unscale gradients by hand",
        "clip": "write mindspore.ops.clip_by_global_norm or clip_by_value on the gradients",
        "gradient": "gradients are values there: change what value_and_grad gives, before optimizer(gradients)",
        "differentiate": "write what is differentiated as a function, and mindspore.grad or value_and_grad of it",
        "groups": "the learning rates are Parameters, which mindspore.ops.assign changes",
        "state": "the state has another form there; adamcompat state convert carries a saved one over",
        "schedule": "a schedule is the learning_rate of the constructor, and counts steps",
    },
}


def report(module: Module, editor: Editor, uses: Sequence[Use], target: str, protocol: str) -> None:
    """Say of each place that has to do with an optimizer of such a loop that it is not ported.

    Args:
        module: the module.
        editor: takes the findings.
        uses: the places that name the optimizers' classes; those have findings of their own.
        target: the name of the framework that is written, for messages.
        protocol: the calling convention of that framework: ``apply_gradients`` or ``call``.
    """
    if not uses:
        return
    found: dict[tuple[int, str], tuple[ast.expr | ast.stmt, Message]] = {}
    for node, message in _Loop(module, uses, target, _INSTEAD[protocol]).findings():
        found.setdefault((node.lineno, message.code + message.text.rpartition(": ")[2]), (node, message))
    for node, message in found.values():
        if not module.ignored(node):
            editor.say(node, message)
    for statement in module.imports:
        names = {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
        brought = {meaning for name in names for meaning in module.bindings.imported.get(name, ())}
        ours = any(home == name or name.startswith(f"{home}.") for home in _HOMES for name in brought)
        if ours and not editor.moves(statement) and not module.ignored(statement):
            text = f"{module.source(statement)} stays, for other lines of the file may need it"
            editor.say(statement, info("import-kept", text))


class _Loop:
    """Find the places where one module uses its optimizers, their schedules and their scalers."""

    def __init__(self, module: Module, uses: Sequence[Use], target: str, instead: dict[str, str]) -> None:
        self.module = module
        self.target = target
        self.instead = instead
        self.source = uses[0].signature.dialect.library
        self.made = {use.call for use in uses if use.call is not None}
        self.callees = {use.node for use in uses}
        self.optimizers = self._named(self.made)
        makers = {
            around.name
            for call in self.made
            for node in module.ancestors(call)
            if isinstance(node, ast.Return) and isinstance(around := module.function(node), ast.FunctionDef)
        }
        self.optimizers |= self._named(call for call in module.calls if self._last(call) in makers)
        self.schedules = self._named(call for call in module.calls if self._schedules(call))
        self.scalers = self._named(call for call in module.calls if self._last(call) == _SCALER)

    def _named(self, calls: Iterable[ast.Call]) -> set[str]:
        """Return the names, as they are written, that are given the results of some calls."""
        found: set[str] = set()
        for call in calls:
            for node in self.module.ancestors(call):
                if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)):
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    names = (item for target in targets for item in ast.walk(target))
                    found |= {
                        ast.unparse(item)
                        for item in names
                        if isinstance(item, (ast.Name, ast.Attribute)) and isinstance(item.ctx, ast.Store)
                    }
                if isinstance(node, ast.stmt):
                    break
        return found

    @staticmethod
    def _last(call: ast.Call) -> str:
        """Return the last part of the name of a called function."""
        return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")

    def _schedules(self, call: ast.Call) -> bool:
        """Return whether a call makes a schedule of an optimizer's learning rate."""
        names = {ast.unparse(call.func), *self.module.bindings.meanings(call.func)}
        return any(f"{_SCHEDULES}." in name for name in names)

    def _differentiates(self, call: ast.Call) -> bool:
        """Return whether a call is of a function that returns gradients, such as ``torch.autograd.grad``."""
        meanings = self.module.bindings.meanings(call.func)
        loose = not meanings and ast.unparse(call.func).endswith(_LOOSE)
        return loose or any(
            name.partition(".")[0] in _ROOTS and name.rpartition(".")[2] in _FUNCTIONS for name in meanings
        )

    def _gradient(self, node: ast.Attribute) -> bool:
        """Return whether an attribute ``grad`` is a parameter's: no function of a module, and not one of ``self``."""
        parent = self.module.parents.get(node)
        called = isinstance(parent, ast.Call) and parent.func is node
        root = root_of(node.value)
        own = isinstance(node.value, ast.Name) and root == "self"
        return not (called or own or root in self.module.bindings.imported)

    def _is_forgotten(self, node: ast.Attribute) -> bool:
        """Return whether an attribute is set to None."""
        parent = self.module.parents.get(node)
        value = parent.value if isinstance(parent, (ast.Assign, ast.AnnAssign)) else None
        return value is not node and isinstance(value, ast.Constant) and value.value is None

    def findings(self) -> Iterator[tuple[ast.expr | ast.stmt, Message]]:
        """Yield the places that are not ported, each with its message."""
        for node in self.module.nodes:
            if isinstance(node, ast.Call):
                yield from self._call(node)
            elif isinstance(node, ast.arg) and node.arg in self.optimizers:
                text = f"the parameter {node.arg} stays as it is: an optimizer of {self.target} is to be passed now"
                yield _place(self.module, node), info("other-use", text)
            elif isinstance(node, (ast.Name, ast.Attribute)):
                yield from self._name(node)

    def _call(self, node: ast.Call) -> Iterator[tuple[ast.expr, Message]]:
        last = self._last(node)
        meanings = self.module.bindings.meanings(node.func)
        if self._schedules(node):
            yield node, self.lost(node, "schedule", "schedule-not-ported")
        elif last == _SCALER:
            yield node, self.lost(node, "scaler")
        elif any(name.rpartition(".")[2] in _CLIPS for name in (last, *meanings)):
            yield node, self.lost(node, "clip")
        elif self._differentiates(node):
            yield node, self.lost(node, "differentiate")
        elif node.func not in self.callees and "dam" not in last:
            for name in sorted(meanings):
                if name.rpartition(".")[0] in _HOMES:
                    yield node, warning("other-use", f"{name} is no Adam, and is left alone: {self.text(node)}")

    def _name(self, node: ast.Name | ast.Attribute) -> Iterator[tuple[ast.expr, Message]]:
        written = ast.unparse(node)
        if written in self.schedules:
            yield node, self.lost(node, "schedule", "schedule-not-ported")
        elif written in self.scalers:
            yield node, self.lost(node, "scaler")
        elif written in self.optimizers and not self._given(node):
            yield node, self.use(node)
        elif isinstance(node, ast.Attribute) and node.attr == _GRADIENT and self._gradient(node):
            yield node, self.lost(node, "forget" if self._is_forgotten(node) else "gradient")
        elif isinstance(node, ast.Attribute) and node.attr in _ATTRIBUTES:
            base = ast.unparse(node.value)
            if base not in self.optimizers | self.schedules | self.scalers:
                yield node, self.asked(node)

    def _given(self, node: ast.Name | ast.Attribute) -> bool:
        """Return whether a name is given the optimizer here; the call has a finding then."""
        return isinstance(node.ctx, ast.Store) and any(
            call in self.made for call in ast.walk(_statement(self.module, node)) if isinstance(call, ast.Call)
        )

    def use(self, node: ast.Name | ast.Attribute) -> Message:
        """Return the message on a place where an optimizer stands."""
        parent = self.module.parents.get(node)
        if isinstance(parent, ast.Attribute):
            return self.asked(parent)
        holder = self.module.parents.get(parent) if isinstance(parent, ast.keyword) else parent
        if isinstance(holder, ast.Call) and holder.func is not node:
            if self._schedules(holder):
                return self.lost(holder, "schedule", "schedule-not-ported")
            if isinstance(holder.func, ast.Attribute) and ast.unparse(holder.func.value) in self.scalers:
                return self.lost(holder, "scaler")
        return warning("other-use", f"the optimizer is used in a way that is not ported: {self.text(node)}")

    def asked(self, node: ast.Attribute) -> Message:
        """Return the message on an attribute of an optimizer, or of something that may be one."""
        call = self.module.parents.get(node)
        if node.attr == "step":
            closes = isinstance(call, ast.Call) and call.func is node and bool(call.args or call.keywords)
            return self.lost(node, "closure" if closes else "step")
        if node.attr in _HOOKS:
            return self.lost(node, "gradient")
        if node.attr in _BACKWARD:
            return self.lost(node, "backward")
        if node.attr in _FORGETTING:
            return self.lost(node, "forget")
        if node.attr in ("param_groups", "add_param_group"):
            return self.lost(node, "groups")
        if node.attr in _STATES:
            return self.lost(node, "state")
        return warning("other-use", f"the optimizer is used in a way that is not ported: {self.text(node)}")

    def lost(self, node: ast.expr, part: str, code: str = "loop-not-ported") -> Message:
        """Return a message that a part of the loop is not ported, and that says what to write instead.

        Args:
            node: where the part stands.
            part: which part of a loop it is, a key of `instead`.
            code: the code of the message.
        """
        return error(
            code, f"{self.text(node)} is {self.source}'s and not ported; in {self.target}: {self.instead[part]}"
        )

    def text(self, node: ast.expr) -> str:
        """Return the first line of the statement around a node; of a compound one the node and its use alone."""
        statement = _statement(self.module, node)
        if hasattr(statement, "body"):
            parents = self.module.parents
            while isinstance(parents.get(node), (ast.Attribute, ast.Call, ast.Subscript)):
                node = parents[node]  # type: ignore[assignment]
            return self.module.source(node).splitlines()[0]
        return self.module.source(statement).splitlines()[0]


def _statement(module: Module, node: ast.AST) -> ast.stmt:
    return next(item for item in (node, *module.ancestors(node)) if isinstance(item, ast.stmt))


def _place(module: Module, node: ast.AST) -> ast.stmt:
    """Return the statement at which a node is reported that is no expression itself."""
    return _statement(module, node)


def of_loops(uses: Iterable[Use], protocols: Collection[str]) -> list[Use]:
    """Return the uses whose optimizers find gradients by themselves, if the target framework has none such.

    Args:
        uses: places that name classes.
        protocols: the calling conventions of the target framework.
    """
    return [use for use in uses if use.signature.dialect.protocol == PROTOCOL and PROTOCOL not in protocols]
