//! Owns the kinds of alarms: the closed word of each, its name on duty, and what to do.
//! Refuses to know who raises them. Invariant: whatever is raised in `src/` stands in this table (`tests/it/walls.rs` holds it).

/// One kind of trouble.
#[derive(Clone, Copy, Debug)]
pub struct AlarmKind {
    /// Closed word of metrics, JSON and configuration.
    pub word: &'static str,
    /// A state that goes on until it ends by itself; else something that happened, which is over when a person has taken it.
    pub lasts: bool,
    pub title: &'static str,
    pub advice: &'static str,
}

pub fn find(word: &str) -> Option<&'static AlarmKind> {
    KINDS.iter().find(|kind| kind.word == word)
}

pub fn all() -> &'static [AlarmKind] {
    KINDS
}

const fn lasts(word: &'static str, title: &'static str, advice: &'static str) -> AlarmKind {
    AlarmKind { word, lasts: true, title, advice }
}

const fn happened(word: &'static str, title: &'static str, advice: &'static str) -> AlarmKind {
    AlarmKind { word, lasts: false, title, advice }
}

static KINDS: &[AlarmKind] = &[
    lasts("account-parked", "发送通道已停用", "看原因：账号、余额、密码、网络；恢复后自动续发"),
    lasts("account-refuses-all", "发送通道拒收所有人", "看原因：签名、模板、发送号码、报备、号码格式；修好后自动恢复"),
    lasts("account-throttled", "发送通道限速", "看原因；调低 per_second 或 per_minute，或请运营商放宽；期间由下一通道发送"),
    lasts("account-start", "发送通道启动失败", "检查该通道的配置与对端；启动后自动续发"),
    happened("alarms-overflow", "告警过多", "先处理列表中的告警"),
    happened("alert-before-its-reference", "更新或解除先于其所指预警到达", "核对来源；所指预警到达后自动受理，超过24小时失效"),
    lasts("approval-limit", "审批人未配置或超限", "检查 [approval] 的角色与名册"),
    happened("approval-overdue", "预警待审批超时", "立即登录审批或退回"),
    happened("broker-full", "广播设备接入已满", "调大 sessions_max 或文件数上限；若同一地址连接过多，查该地址"),
    happened("call-exhausted", "叫应无人应答且已无人可叫", "立即派人上门，或电话联系乡镇"),
    lasts("certificate-expires", "证书即将到期或已过期", "换上新证书后重新加载（kill -HUP）；通道、来源、转报的 CA 文件换好后重启"),
    lasts("clock-held", "系统时钟可疑，暂按原时钟计时", "立即核对时钟与对时服务（NTP）"),
    happened("clock-jumped", "服务器时钟已被调整", "核对时钟与对时服务；预警的结束与应答时限按新时钟计"),
    lasts("configuration-incomplete", "配置不完整", "运行 lastmile config check，按提示补齐"),
    lasts("data-directory-open", "数据目录可被其他用户读取", "把文件属主改为运行本程序的用户"),
    happened("document-damaged", "密钥、账号或设置文件曾损坏，已由副本修复", "检查磁盘，立即做一次备份"),
    lasts("filed-unreadable", "归档的预警读不出", "从备份恢复该归档文件"),
    happened("help-wanted", "有人求助", "立即回拨并派人"),
    happened("inlet-conflict", "来源改动了已受理的预警", "核对改动内容；必要时人工发布更新"),
    happened("inlet-document-out-of-reach", "来源公告的文件取不到", "检查网络；向来源索取原文"),
    lasts("inlet-full", "来源待处理文件过多", "检查来源与磁盘"),
    happened("inlet-forbidden-link", "来源的链接指向不允许的地址", "联系来源；未抓取"),
    happened("inlet-link", "来源列出的预警取不到", "检查网络；向来源索取原文"),
    lasts("inlet-memory", "来源的已读记录不可用", "检查磁盘；会重读已读条目，不会漏收"),
    happened("inlet-message-failed", "来源的消息处理失败", "看日志；消息会再来"),
    happened("inlet-refused", "来源的预警被拒收", "看原因；政策、名录或权限改好后自动重试"),
    lasts("inlet-start", "来源接入启动失败", "检查该来源的配置"),
    lasts("inlet-stuck", "来源目录中的文件处理不了", "检查该文件的权限与目录"),
    lasts("inlet-unreachable", "来源连不上", "检查网络与来源"),
    lasts("month-not-given-back", "旧月份空间未能回收", "看日志与磁盘"),
    happened("nonces-damaged", "签名请求的防重放记录损坏", "请用签名的单位重新签名再发；检查磁盘"),
    happened("nobody-told", "预警没有任何人收到", "立即改用其他手段通知；检查通道、政策与名录"),
    lasts("not-filed", "结束的预警未能归档", "看日志与磁盘"),
    lasts("opt-out-held", "退订未能保存", "检查磁盘"),
    lasts("outcomes-held", "发送结果暂存内存", "检查磁盘空间"),
    lasts("plan-held", "预警因磁盘已满未能展开", "立即清理磁盘"),
    lasts("policy-at-fault", "新政策有误，未采用", "改正政策文件后重新加载；旧政策仍有效"),
    lasts("policy-without-channel", "政策点名的发送手段没有通道", "在配置中加上该手段的通道，或改政策"),
    lasts("registry-damaged", "名录文件损坏，已用上一份", "核对名录，重新导入"),
    lasts("relay-cursor", "上级转报的进度未能保存", "检查磁盘"),
    happened("relay-refused", "上级平台拒收", "看原因并与上级平台联系"),
    lasts("relay-start", "上级转报启动失败", "检查该转报的配置"),
    lasts("relay-stuck", "上级转报停滞", "检查网络与上级平台"),
    lasts("route-without-account", "待发消息没有通道可走", "在配置中加回该通道；加上后自动续发"),
    lasts("shared-login", "广播设备共用一个口令", "逐台发放凭据后删去 shared_login"),
    lasts("storage-full", "磁盘空间不足", "立即清理磁盘；已受理的预警不受影响，新的暂不受理"),
    happened("store-mended", "数据目录启动时修复过", "看日志；核对最近的回执与应答"),
    happened("unmatched-receipts", "回执所指的消息不是该通道发出的", "如该账号没有与其他系统共用，请更换 callback_token"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_stands_once_with_a_name_and_an_advice() {
        for (place, kind) in KINDS.iter().enumerate() {
            assert!(KINDS[..place].iter().all(|other| other.word != kind.word), "{} stands twice", kind.word);
            assert!(!kind.title.is_empty() && !kind.advice.is_empty(), "{}", kind.word);
        }
    }
}
