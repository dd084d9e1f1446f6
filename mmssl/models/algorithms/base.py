"""What every pretraining method shares: two branches, the clock and the forward modes."""

from typing import Any, ClassVar

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from ...core import Clock, Curve, UserError
from ...registry import MODELS
from ..backbones import Backbone, Features
from ..branch import Branch, copy_teacher, make_teacher, move_teacher


class Pretrainer(BaseModel):
    """Base of all methods; a method derives from it directly and writes `loss`.

    ``export`` names the side whose backbone is used downstream; ``teacher_moves`` says whether
    the teacher follows 'before' the forward or 'after' the update (None: no teacher);
    ``needs_views`` and ``most_views`` are the numbers of views it can use. ``size_by_size``, for
    methods of many crops: see `Branch`.
    """

    export: ClassVar[str] = 'student'
    teacher_moves: ClassVar[str | None] = None
    needs_views: ClassVar[int] = 2
    most_views: ClassVar[int | None] = None
    student: Branch
    teacher: Branch
    head: Any

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        head: dict | None = None,
        momentum: dict | None = None,
        data_preprocessor: dict | None = None,
        size_by_size: bool = False,
    ) -> None:
        super().__init__(MODELS.build(data_preprocessor or dict(type='ViewPreprocessor')))
        if size_by_size and self.most_views == 2:
            raise UserError(
                f'model.size_by_size: the views of {type(self).__name__} have one size; to save '
                'memory set model.backbone.with_cp'
            )
        self.student = Branch(backbone, neck, size_by_size)
        self.head = MODELS.build(head) if head else nn.Identity()
        gives = next(
            (neck.gives for neck in self.student.neck.values() if hasattr(neck, 'gives')), None
        )
        takes = getattr(self.head, 'takes', None)
        if None not in (gives, takes) and gives != takes:
            raise UserError(
                f'the neck gives {gives} values and the head takes {takes}; make them equal'
            )
        if self.teacher_moves:
            self.teacher = make_teacher(self.student)
            if momentum is None:
                raise UserError(f'{type(self).__name__} has a teacher: add momentum=dict(start=..)')
        self.momentum = Curve.build(momentum, 'model.momentum') if momentum else None
        self._clock: Clock | None = None
        self.watched: dict[str, Tensor] = {}

    # what a method writes -------------------------------------------------------------------
    def loss(self, views: list[Tensor], info: dict[str, Any]) -> dict[str, Tensor]:
        """Return the losses (scalars, summed) of views, each (B, 3, H, W), global ones first."""
        raise NotImplementedError

    def uniform_loss(self, batch: int) -> float | None:
        """Return the loss of a network that knows nothing, for ``batch`` images on each rank."""
        return None

    # refusals -------------------------------------------------------------------------------
    @classmethod
    def check_recipe(cls, model: dict, views: list[dict], mask: dict | None) -> None:
        """Refuse a config that cannot work: its model, its views (repeats spelled out), masks.

        Called before anything is built; raises UserError naming the values.
        """
        if len(views) < cls.needs_views:
            raise UserError(
                f'{cls.__name__} needs {cls.needs_views} views, the pipeline makes {len(views)}: '
                'add one to MultiView.views, or repeat=2'
            )
        if cls.most_views and len(views) > cls.most_views:
            raise UserError(
                f'{cls.__name__} uses {cls.most_views} views, the pipeline makes {len(views)}: '
                'remove the others from MultiView.views'
            )

    def check_batch(self, batch: int) -> None:
        """Refuse a number of images per step, over all ranks, that the method cannot take."""

    # time -----------------------------------------------------------------------------------
    @property
    def clock(self) -> Clock:
        """The iteration training is at; set by ClockHook."""
        if self._clock is None:
            raise RuntimeError('the model has no clock: train through the runner (ClockHook)')
        return self._clock

    @clock.setter
    def clock(self, clock: Clock) -> None:
        self._clock = clock

    def curves(self) -> dict[str, Curve]:
        """Return every curve of the model by name, for checks and plots."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Curve)}

    def now(self, curve: Curve) -> float:
        """Return the value of a curve at this iteration."""
        return curve(*self.clock)

    # teacher --------------------------------------------------------------------------------
    def move_teacher(self) -> None:
        """Let the teacher's parameters follow the student's by this iteration's momentum."""
        assert self.momentum is not None
        move_teacher(self.student, self.teacher, self.now(self.momentum))

    def sync_teacher(self) -> None:
        """Make the teacher equal to the student, as at the start of training."""
        if self.teacher_moves:
            copy_teacher(self.student, self.teacher)

    def end_step(self) -> None:
        """Let queues and centres take in what one optimizer step has shown them."""
        for module in self.modules():
            if module is not self and hasattr(module, 'end_step'):
                module.end_step()

    def drop_step(self) -> None:
        """Forget what queues and centres have been shown in a step that is passed over."""
        for module in self.modules():
            if hasattr(module, 'pending'):
                module.pending.clear()

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
        """The exported side's backbone."""
        return getattr(self, self.export).backbone

    def forward(
        self, inputs: Any, data_samples: dict[str, Any] | None = None, mode: str = 'tensor'
    ) -> Any:
        """'loss': inputs are V views (B, 3, H, W); 'tensor': one image batch (B, 3, H, W)."""
        if mode == 'loss':
            if len(inputs) < self.needs_views:
                raise UserError(
                    f'{type(self).__name__} needs {self.needs_views} views, got {len(inputs)}'
                )
            return self.loss(list(inputs), data_samples or {})
        if mode == 'tensor':
            return self.extract_feat(inputs)
        raise UserError(f"mode '{mode}': a pretraining model knows 'tensor' and 'loss'")

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> one-tuple: the final map, or the class token (B, C) of a ViT.

        A backbone with ``out_indices`` gives its maps (B, C_i, H_i, W_i) instead.
        """
        if self.backbone.out_indices is not None:
            return self.backbone(inputs)
        return (self.backbone.summary(inputs),)

    def encode(self, inputs: Tensor) -> Features:
        """(B, 3, H, W) -> Features of the exported backbone."""
        return self.backbone.encode(inputs)

    @torch.no_grad()
    def watch(self, student: Tensor, teacher: Tensor) -> None:
        """Keep one batch of embeddings, both (B, D) of paired rows, for the health line."""
        self.watched = {'student': student.detach(), 'teacher': teacher.detach()}
