"""Base class of all pretraining methods: student and teacher, schedules, forward modes."""

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ...core import Progress, Schedule, UserError
from ...core.kinds import ScheduleSettings
from ...core.protocols import StepMemory, dims_of
from ...optim.recipe import Recipe
from ...registry import MODELS
from ..backbones import Backbone, Features, VisionTransformer
from ..branch import Branch
from ..logged_losses import LoggedLosses
from ..preprocessor import adopt_normalisation
from ..teacher import copy_teacher, is_due, make_teacher, update_teacher


class Pretrainer(LoggedLosses):
    """Base of all methods; a method writes `loss`.

    A method derives from this class, or from the method that its paper builds on (depth two at
    most). ``export`` names the branch whose backbone is used downstream; ``teacher_update`` says
    whether the teacher moves 'before' the forward or 'after' the update (None: no teacher);
    ``min_views`` and ``max_views`` are the numbers of views it can use, ``min_batch`` the fewest
    images of a step. Raises UserError for parts whose widths do not fit, and for a teacher without
    ``momentum``.
    """

    export: ClassVar[str] = 'student'
    teacher_update: ClassVar[str | None] = None
    min_views: ClassVar[int] = 2
    max_views: ClassVar[int | None] = None
    min_batch: ClassVar[int] = 1
    student: Branch
    teacher: Branch
    head: Any

    def __init__(
        self,
        backbone: dict[str, Any] | nn.Module,
        neck: dict[str, Any],
        head: dict[str, Any] | None = None,
        momentum: ScheduleSettings | None = None,
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(MODELS.build(data_preprocessor or dict(type='ViewPreprocessor')))
        self.student = Branch(backbone, neck)
        adopt_normalisation(self.data_preprocessor, self.student.backbone)
        self.head = MODELS.build(head) if head else nn.Identity()
        self._check_widths()
        if self.teacher_update:
            self.teacher = make_teacher(self.student)
            if momentum is None:
                raise UserError(
                    f'{type(self).__name__} has a teacher: add model.momentum=dict(start=...)',
                    key='model.momentum',
                    value=None,
                )
        self.momentum = Schedule.build(momentum, 'model.momentum', 0.0, 1.0) if momentum else None
        self.logged_embeddings: dict[str, Tensor] = {}
        self.recipe: Recipe | None = None  # how it is trained outside a runner
        self._progress: Progress | None = None
        self._memories: list[StepMemory] | None = None

    def _check_widths(self) -> None:
        """Check that the head takes the width that the first neck gives."""
        widths = (dims_of(neck)[1] for neck in self.student.neck.values())
        given = next((width for width in widths if width is not None), None)
        wanted, _ = dims_of(self.head)
        if given is not None and wanted is not None and given != wanted:
            raise UserError(
                f'model.neck gives {given} values, but model.head takes {wanted}; make them equal',
                key='model.neck',
                value=given,
            )

    # what a method writes -------------------------------------------------------------------
    def loss(self, views: list[Tensor], info: dict[str, Any]) -> dict[str, Tensor]:
        """Return the losses by name, () each, of V views (B, 3, H, W), global ones first.

        ``info`` holds the samples of the batch, such as masks; 'loss' is the one to minimise.
        """
        raise NotImplementedError

    def uniform_loss(self, batch: int) -> float | None:
        """Return the loss of a uniform prediction, for ``batch`` images on each rank."""
        return None

    # refusals -------------------------------------------------------------------------------
    @classmethod
    def check_recipe(
        cls, model: dict[str, Any], views: list[dict[str, Any]], mask: dict[str, Any] | None
    ) -> None:
        """Check a config before anything is built: its model, its views and its mask.

        ``views`` has one entry per view, those with ``repeat`` several times. Raises UserError
        for too few or too many views, and for sizes that the patches do not divide.
        """
        if len(views) < cls.min_views:
            raise UserError(
                f'{cls.__name__} needs {cls.min_views} views, the pipeline makes {len(views)}: '
                'add one to MultiView.views, or repeat=2',
                key='MultiView.views',
                value=len(views),
            )
        if cls.max_views and len(views) > cls.max_views:
            raise UserError(
                f'{cls.__name__} uses {cls.max_views} views, the pipeline makes {len(views)}: '
                'remove the others from MultiView.views',
                key='MultiView.views',
                value=len(views),
            )
        if len(views) > 2:
            cls.check_order(views, cls.leading(model))
        cls.check_patches(model['backbone'], views)

    @classmethod
    def check_patches(cls, backbone: dict[str, Any], views: list[dict[str, Any]]) -> None:
        """Check that the patches of a ViT divide its views: pixels beside them would be lost.

        Raises UserError naming the size of the view.
        """
        kind = MODELS.get(backbone['type']) if 'type' in backbone else None  # a module has none
        if kind is None or not issubclass(kind, VisionTransformer):
            return
        default = inspect.signature(kind).parameters['patch_size'].default
        patch = backbone.get('patch_size', default)
        for size in {view.get('size', 224) for view in views}:
            if size % patch:
                below, above = size // patch * patch, (size // patch + 1) * patch
                raise UserError(
                    f'views of {size} px are no multiple of the {patch} px of a patch; use '
                    f'{f"{below} or " if below else ""}{above}',
                    key='MultiView.views',
                    value=size,
                )

    @classmethod
    def leading(cls, model: dict[str, Any]) -> Sequence[int]:
        """Return which views lead: the teacher's, or those that give codes."""
        return (0, 1)

    @classmethod
    def check_order(cls, views: list[dict[str, Any]], leading: Sequence[int]) -> None:
        """Check that no other view is larger than those that lead. Raises UserError."""
        sizes = [view.get('size', 224) for view in views]
        others = [size for i, size in enumerate(sizes) if i not in leading]
        if others and max(others) > min(sizes[i] for i in leading):
            raise UserError(
                f'{cls.__name__} learns from views {" and ".join(map(str, leading))} of '
                f'MultiView.views, and others are larger ({sizes}); put the large ones there',
                key='MultiView.views',
                value=sizes,
            )

    def check_batch(self, batch: int) -> None:
        """Check the number of images per step, over all ranks.

        Raises UserError when the method cannot take it.
        """
        if batch < self.min_batch:
            raise UserError(
                f'{type(self).__name__} learns by comparing images of a batch, and that of all '
                f'processes has {batch}; raise train_dataloader.batch_size',
                key='train_dataloader.batch_size',
                value=batch,
            )

    # a step of training ---------------------------------------------------------------------
    @property
    def progress(self) -> Progress:
        """Return the progress at this iteration. Raises RuntimeError before the first one."""
        if self._progress is None:
            raise RuntimeError('the model has no progress: call begin_step before each forward')
        return self._progress

    @progress.setter
    def progress(self, progress: Progress) -> None:
        """Set the progress, before each iteration."""
        self._progress = progress

    def begin_step(
        self,
        step: int,
        optimizer: Optimizer | None = None,
        *,
        starts_update: bool = True,
        length: tuple[int, int] | None = None,
    ) -> None:
        """Begin iteration ``step``, counted from 0: before the forward of every batch.

        Writes the recipe's rate and decay into ``optimizer``'s groups, and moves a teacher that
        moves before the forward. Where several batches make an update, ``starts_update`` is True
        for the first of them only. ``length`` are the iterations of training and of an epoch, by
        default the recipe's; a runner, whose schedulers write the rates, gives it and no
        optimizer. Raises UserError for a step that is past the end, and without a recipe.
        """
        if length is None:
            length = self.required_recipe().length
        if not 0 <= step < length[0]:
            raise UserError(
                f'begin_step({step}): training has iterations 0 to {length[0] - 1}; build the '
                'method with more epochs',
                key='step',
                value=step,
            )
        self._progress = Progress(step, *length)
        if not starts_update:
            return
        if optimizer is not None:
            self.required_recipe().write_schedules(optimizer.param_groups, self._progress)
        self.begin_update()

    def end_step(self) -> None:
        """End an update: after the optimizer's step.

        Queues, centres and banks take in what the update's batches have shown; a teacher that
        follows the student moves.
        """
        for memory in self.memories():
            memory.end_step()
        if is_due(self.teacher_update, 'after'):
            self.update_teacher()

    def required_recipe(self) -> Recipe:
        """Return the recipe. Raises UserError for a model that was built without one."""
        if self.recipe is None:
            name = type(self).__name__
            raise UserError(
                f'{name} was built without a recipe of its training; build it by '
                'mmssl.build_method, or set .recipe',
                key='recipe',
                value=None,
            )
        return self.recipe

    def param_groups(self) -> list[dict[str, Any]]:
        """Return the recipe's groups of the trainable parameters, for any optimizer of torch."""
        return self.required_recipe().param_groups(self)

    def build_optimizer(self) -> Optimizer:
        """Build the recipe's optimizer over `param_groups`."""
        return self.required_recipe().build_optimizer(self)

    def clip_gradients(self) -> None:
        """Clip the gradients as the recipe does; drop those of groups that are still frozen.

        Between the last backward of an update and the optimizer's step.
        """
        self.required_recipe().clip_gradients(self, self.progress)

    # schedules ------------------------------------------------------------------------------
    def schedules(self) -> dict[str, Schedule]:
        """Return every schedule of the model by name, for checks and plots."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Schedule)}

    def current_momentum(self) -> float | None:
        """Return the teacher's momentum of this iteration, None without a teacher."""
        return None if self.momentum is None else self.momentum.value_at(*self.progress)

    # teacher and memories -------------------------------------------------------------------
    def begin_update(self) -> None:
        """Do what comes before the first forward of an update: move a teacher that moves then."""
        if is_due(self.teacher_update, 'before'):
            self.update_teacher()

    def update_teacher(self) -> None:
        """Move the teacher's parameters towards the student's by this iteration's momentum."""
        momentum = self.current_momentum()
        assert momentum is not None
        update_teacher(self.student, self.teacher, momentum)

    def sync_teacher(self) -> None:
        """Make the teacher equal to the student, as at the start of training."""
        if self.teacher_update:
            copy_teacher(self.student, self.teacher)

    def memories(self) -> list[StepMemory]:
        """Return the queues, centres and memory banks of the model."""
        if self._memories is None:  # found once: walking all modules is slow
            parts = (module for module in self.modules() if module is not self)
            self._memories = [module for module in parts if isinstance(module, StepMemory)]
        return self._memories

    def drop_step(self) -> None:
        """Discard what queues, centres and banks collected during a skipped step."""
        for memory in self.memories():
            memory.drop_step()

    def drop_incomplete(self) -> None:
        """End a step that an epoch's end has left without its last micro-batches."""
        for memory in self.memories():
            memory.drop_incomplete()

    def init_weights(self) -> None:
        """Load the backbone's ``init_cfg``, then start the teacher from the student.

        Constructors have initialised everything else; timm's and mmengine's own initialisers
        must not run again, or teacher and student would differ at step 0.
        """
        self.student.backbone.init_weights()
        self.sync_teacher()

    # modes ----------------------------------------------------------------------------------
    @property
    def backbone(self) -> Backbone:
        """Return the exported branch's backbone."""
        found: Backbone = self.get_submodule(self.export).backbone
        return found

    def forward(
        self, inputs: Any, data_samples: dict[str, Any] | None = None, mode: str = 'tensor'
    ) -> Any:
        """Return what ``mode`` names.

        'loss': the losses by name, () each, of V views (B, 3, H, W), normalised floats, or bytes
        that are moved to the device and normalised here; 'tensor': `extract_feat` of
        one batch of images (B, 3, H, W). Raises UserError for too few views, for anything but a
        list of views and a dict of samples, and for another mode.
        """
        if mode == 'loss':
            self._check_inputs(inputs, data_samples)
            if len(inputs) < self.min_views:
                raise UserError(
                    f'{type(self).__name__} needs {self.min_views} views, got {len(inputs)}; '
                    'pass a list of views as inputs',
                    key='inputs',
                    value=len(inputs),
                )
            if self.max_views and len(inputs) > self.max_views:
                raise UserError(
                    f'{type(self).__name__} uses {self.max_views} views, got {len(inputs)}; the '
                    'data set must make no more',
                    key='inputs',
                    value=len(inputs),
                )
            if any(not view.is_floating_point() for view in inputs):
                data = dict(inputs=list(inputs), data_samples=data_samples or {})
                data = self.data_preprocessor(data, True)
                inputs, data_samples = data['inputs'], data['data_samples']
            return self.loss(list(inputs), data_samples or {})
        if mode == 'tensor':
            return self.extract_feat(inputs)
        raise UserError(
            f"mode '{mode}' is unknown to a pretraining model; use 'tensor' or 'loss'",
            key='mode',
            value=mode,
        )

    @staticmethod
    def _check_inputs(inputs: Any, data_samples: Any) -> None:
        """Refuse what a data set of the user's own may yield by mistake."""
        if not isinstance(inputs, (list, tuple)):
            raise UserError(
                f'inputs: a list with a batch (B, 3, H, W) for each view is needed, got '
                f'{_described(inputs)}; an item of the data set is '
                'dict(inputs=[view, view], data_samples=dict())',
                key='inputs',
                value=_described(inputs),
            )
        wrong = [v for v in inputs if not (isinstance(v, Tensor) and v.ndim == 4)]
        if wrong:
            raise UserError(
                f'inputs: each view must be a tensor (B, 3, H, W), got {_described(wrong[0])}; the '
                'data set must make (3, H, W) of each image, of one size for each view',
                key='inputs',
                value=_described(wrong[0]),
            )
        if data_samples is not None and not isinstance(data_samples, dict):
            raise UserError(
                f'data_samples: a dict of tensors with one row for each image is needed, got '
                f'{_described(data_samples)}',
                key='data_samples',
                value=_described(data_samples),
            )

    def sample(self, info: dict[str, Any], name: str, shape: str) -> Tensor:
        """Return the entry ``name`` of a batch's data_samples, of the given ``shape`` in words.

        Raises UserError when the data set has given none.
        """
        if name not in info:
            raise UserError(
                f"{type(self).__name__} needs data_samples['{name}'] {shape}; "
                'MultiView gives it, and a data set of your own must too',
                key=f'data_samples.{name}',
                value=None,
            )
        entry: Tensor = info[name]
        return entry

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> one-tuple: the final map (B, C, h, w), or a ViT's class token (B, C).

        A backbone with ``out_indices`` gives its maps (B, C_i, H_i, W_i) instead.
        """
        if self.backbone.out_indices is not None:
            found: tuple[Tensor, ...] = self.backbone(inputs)
            return found
        return (self.backbone.summary(inputs),)

    def encode(self, inputs: Tensor) -> Features:
        """(B, 3, H, W) -> Features of the exported backbone."""
        return self.backbone.encode(inputs)

    @torch.no_grad()
    def log_embeddings(self, student: Tensor, teacher: Tensor) -> None:
        """Keep one batch of embeddings, both (B, D) of paired rows, for the health line."""
        self.logged_embeddings = {'student': student.detach(), 'teacher': teacher.detach()}


def _described(value: Any) -> str:
    """Return the type of a value, with the shape where it has one."""
    shape = getattr(value, 'shape', None)
    return type(value).__name__ if shape is None else f'{type(value).__name__} {tuple(shape)}'
